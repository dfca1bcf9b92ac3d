"""Entry point of the Flex Template: `python main.py --data_source=… …`; `--help` lists the parameters."""

import sys

from sync_pipeline.command import main

if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        # While rows are staged, the run itself handles an interruption.
        print("error: interrupted before anything was written", file=sys.stderr)
        sys.exit(130)
