"""Recognises, by name, files that systems, network drives and tools leave among pictures."""

import os
from pathlib import Path

JUNK_NAMES = frozenset(
    {
        # macOS
        *(".ds_store", "__macosx", "icon\r", ".localized", ".spotlight-v100", ".trashes", ".fseventsd", ".apdisk"),
        *(".temporaryitems", ".documentrevisions-v100", ".appledouble", ".appledb", ".appledesktop", ".picasa.ini"),
        *("network trash folder", "temporary items"),
        # Windows
        *("thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini", "$recycle.bin", "system volume information"),
        # network drives
        *("@eadir", "#recycle", "#snapshot", "@recycle", "@recently-snapshot", "@tmp", ".@__thumb", ".@upload_cache"),
        *(".snapshot", ".snapshots", "~snapshot", ".zfs", ".streams"),
        # Linux
        *("lost+found", ".directory", ".nomedia", ".thumbnails", ".comments"),
        # tools
        *(".ipynb_checkpoints", "__pycache__", ".git", ".svn", ".hg", ".dvc", ".venv", ".idea", ".vscode", ".cache"),
        *(".gitkeep", ".gitignore", ".gitattributes", ".dvcignore", ".keep", ".placeholder", ".picasaoriginals"),
        *(".dropbox", ".dropbox.cache", ".stfolder", ".stversions", ".mypy_cache", ".pytest_cache", ".ruff_cache"),
    }
)
"""In small letters, as they are compared. All else is used, hidden or not: a class may be called `__background__`."""
JUNK_PREFIXES = ("._", ".trash", ".nfs", ".fuse_hidden", ".~lock.", "~$")


def find_junk_kind(name: str) -> str | None:
    """Returns the kind of junk that a file or folder of this name is, such as `.DS_Store` or `._*`; else None."""
    small = name.casefold()
    if small in JUNK_NAMES:
        return name
    return next((f"{start}*" for start in JUNK_PREFIXES if small.startswith(start)), None)


def count_files(path: Path) -> int:
    """Counts the files of one piece of junk: 1, or those in the folder; links are not followed."""
    return sum(len(names) for _, _, names in os.walk(path)) if path.is_dir() and not path.is_symlink() else 1
