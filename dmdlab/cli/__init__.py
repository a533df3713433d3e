"""The command line: thin, one file a group of commands. Heavy libraries are imported inside the commands."""

from dmdlab.cli.app import main

__all__ = ["main"]
