"""The shared pipeline: from an archive of pictures to a submission. See ARCHITECTURE.md for the rooms."""
