"""Commands: flags, variables and settings files to Config."""
