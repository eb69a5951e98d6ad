"""A file system with little room."""
import os
import subprocess

from processes import Failed

MIB = 1 << 20


class Small:
    """A tmpfs where a node keeps its data, with a file that takes most of the room."""

    def __init__(self, path, size, filler):
        self.path, self.filler = path, f"{path}/filler"
        os.makedirs(path)
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "draft-test", path],
                              capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise Failed(f"cannot mount a tmpfs on '{path}', which this test needs root for: "
                         f"{done.stderr.strip()}")
        self.fill(filler)

    def fill(self, size):
        with open(self.filler, "wb") as f:
            os.posix_fallocate(f.fileno(), 0, size)

    def free(self):
        os.unlink(self.filler)

    def remove(self):
        subprocess.run(["umount", "-l", self.path], check=False)
