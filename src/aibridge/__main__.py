"""`python -m aibridge`: the same command line as the `aibridge` script."""

from aibridge.server.cli import main

if __name__ == "__main__":
    main()
