"""Filters MongoDB's error messages, because some quote values of documents or a whole filter.

A message is shown if it is known to mention only the statement, privileges or the server. Of any other message only the
name of its code is shown.
"""

from __future__ import annotations

import re

# Codes of `connection.ERROR_MEANINGS` whose messages mention only privileges, names, the network and server state.
_SAFE_CODES = frozenset(
    {6, 7, 8, 11, 13, 18, 26, 43, 50, 73, 89, 91, 133, 136, 166, 175, 189, 237, 292}
    | {8000, 10107, 11600, 11601, 11602, 13435, 13436}
)

# Codes of errors in a statement, which expressions over values raise too, and the first words of messages about the
# statement itself.
_STATEMENT_CODES = frozenset({2, 9, 14})
_STATEMENT = re.compile(
    r"unknown (top level )?operator|[Uu]n(known|recognized) (expression|field|pipeline stage)|"
    r"Invalid \$(project|match)|Cannot do (in|ex)clusion|Path collision|Field ?[Pp]ath |Projection |Bad projection|"
    r"Regular expression|hint provided|(bad|malformed) query|\$\w+ (needs|requires|must|has to|expects|argument)|"
    r"The argument to \$|"
    r"Expression \$\w+ (takes|requires)|An object representing an expression|Error in specification|cannot nest \$|"
    r"can't have|planner returned|error processing query|Use of undefined variable|'?\$\w+'? is not allowed"
)

# The message for a valid statement that fails on a value.
_EXECUTION = "PlanExecutor error"
_COMMAND = re.compile(r"(to execute command) \{ ?(\w+):.*", re.DOTALL)


def shown_message(code: int, message: str) -> str | None:
    """Return the part of the server's message that may be shown, or None."""
    if code in _SAFE_CODES and _EXECUTION not in message:
        # The message quotes a rejected command with its filter.
        return _COMMAND.sub(r"\1 \2", message)
    if code in _STATEMENT_CODES and _STATEMENT.match(message) and _EXECUTION not in message:
        return message
    return None
