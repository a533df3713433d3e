"""`python -m dmdlab`: the command line."""

from dmdlab.cli.app import main

if __name__ == "__main__":
    main()
