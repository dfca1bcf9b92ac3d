"""What of MongoDB's words may be shown: some of its messages quote values of documents, or a whole filter.

Shown is what is known to speak of the statement, of rights or of the server; of everything else the name of the code.
"""

from __future__ import annotations

import re

# Codes of `connection.ERROR_MEANINGS` whose messages speak of rights, names, the network and the server's state.
_SAFE_CODES = frozenset(
    {6, 7, 8, 11, 13, 18, 26, 43, 50, 73, 89, 91, 133, 136, 166, 175, 189, 237, 292}
    | {8000, 10107, 11600, 11601, 11602, 13435, 13436}
)

# Codes of mistakes in a statement, which an expression over values raises as well, and how messages on the statement
# itself begin.
_STATEMENT_CODES = frozenset({2, 9, 14})
_STATEMENT = re.compile(
    r"unknown (top level )?operator|[Uu]n(known|recognized) (expression|field|pipeline stage)|"
    r"Invalid \$(project|match)|Cannot do (in|ex)clusion|Path collision|Field ?[Pp]ath |Projection |Bad projection|"
    r"Regular expression|hint provided|(bad|malformed) query|\$\w+ (needs|requires|must|has to|expects|argument)|"
    r"The argument to \$|"
    r"Expression \$\w+ (takes|requires)|An object representing an expression|Error in specification|cannot nest \$|"
    r"can't have|planner returned|error processing query|Use of undefined variable|'?\$\w+'? is not allowed"
)

# What an executor says of a statement that is right, and whose values are not.
_EXECUTION = "PlanExecutor error"
_COMMAND = re.compile(r"(to execute command) \{ ?(\w+):.*", re.DOTALL)


def shown_message(code: int, message: str) -> str | None:
    """Return what may be shown of the server's message, None for nothing."""
    if code in _SAFE_CODES and _EXECUTION not in message:
        # A refused command is quoted with its filter.
        return _COMMAND.sub(r"\1 \2", message)
    if code in _STATEMENT_CODES and _STATEMENT.match(message) and _EXECUTION not in message:
        return message
    return None
