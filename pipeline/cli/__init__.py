"""The command line, one file per topic. Tasks turn flags into calls and import everything else when they are called."""
