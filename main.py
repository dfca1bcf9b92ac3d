"""Entry point of the Flex Template: `python main.py --data_source=… …`; `--help` lists the parameters."""

import sys

from sync_pipeline.pipeline import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
