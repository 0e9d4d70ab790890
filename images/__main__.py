"""``python -m images [NAME…]``: make images, and give them to the cluster of this checkout."""

from __future__ import annotations

import subprocess
import sys
import time

import click

from images.build import Image, build, say, sweep
from images.layout import OUTPUT, REPOSITORY, ImageError
from images.recipes import REGISTRY, recipes
from pacsless.errors import PacslessError

_CLUSTER = REPOSITORY / ".pacsless" / "cluster.env"
_LOAD = REPOSITORY / "tests" / "cluster" / "load-image"


@click.command(help=__doc__)
@click.argument("names", nargs=-1)
@click.option("--registry", default=REGISTRY, show_default=True, help="Before the names.")
@click.option("--source", default="", help="Address of the repository, for a label.")
@click.option("--fresh", is_flag=True, help="Ask Debian for new versions, though asked today.")
@click.option("--load/--no-load", default=True, help="Into the cluster of this checkout.")
def main(names: tuple[str, ...], *, registry: str, source: str, fresh: bool, load: bool) -> None:
    """Make images, and load what is new."""
    known = recipes()
    if unknown := sorted(set(names) - set(known)):
        raise ImageError(
            "name", f"there is no image {', '.join(unknown)}; there are {', '.join(known)}"
        )
    start = time.monotonic()
    wanted = {name: known[name] for name in names or known}
    made = []
    for image in build(wanted, registry, source=source, fresh=fresh):
        say(
            f"{image.size / 1e6:6.0f} MB  {image.reference}{'' if image.fresh else '  (as before)'}"
        )
        made.append(image)
    say(f"{len(made)} images in {time.monotonic() - start:.0f} s, below {OUTPUT}")
    if not names:
        sweep()
    if load:
        _give(made)


def _give(made: list[Image]) -> None:
    if not _CLUSTER.exists():
        say("no cluster of this checkout runs (make cluster-up); elsewhere load them with")
        say(f"  docker load -i {made[0].file}, podman load, kind load image-archive, ctr import")
        return
    subprocess.run([_LOAD, *(image.file for image in made)], check=True)


if __name__ == "__main__":
    try:
        main()
    except PacslessError as error:
        print(f"images: {error.message}", file=sys.stderr)
        sys.exit(1)
    except subprocess.CalledProcessError as error:
        sys.exit(error.returncode)
