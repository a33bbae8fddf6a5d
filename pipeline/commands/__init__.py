"""The command line, one file a topic. Tasks turn flags into calls, and import everything else when they are called."""
