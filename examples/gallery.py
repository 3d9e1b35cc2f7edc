"""Runs every example at its defaults, and makes the small pictures of docs/gallery.md.

    KERAS_BACKEND=jax python examples/gallery.py                       # hours on two cores
    KERAS_BACKEND=jax python examples/gallery.py --examples gan dithering
    python examples/gallery.py --examples                              # only the pictures, anew

An example that is done is not run again, and one that is killed goes on where it was. What an
example prints, its tables above all, is in `FOLDER/NAME.txt`.
"""

import signal
import subprocess
import sys
from pathlib import Path

from common import program

with program.imports("gallery"):
    from PIL import Image

HERE = Path(__file__).parent
IMAGES = HERE.parent / "docs" / "images"
OPTIONS: dict = {
    "gan": [],
    "style_transfer": [],
    "dithering": ["--reversible"],
    "semantic_synthesis": [],
    "shift_consistency": [],
    "segmentation": [],
    "super_resolution": [],
}
# The part (left, top, right, bottom), in shares of the picture, that goes into the gallery.
PICTURES = {
    "gan/start.png": (0, 0, 1, 1),
    "gan/trained.png": (0, 0, 1, 1),
    "style_transfer/style_transfer.png": (0, 0.235, 1, 1),
    "dithering/dithering.png": (0, 0, 1, 0.385),
    "dithering/reversible.png": (0, 0, 1, 1),
    "semantic_synthesis/semantic_synthesis.png": (0, 0, 1, 1),
    "shift_consistency/shift_consistency.png": (0, 0, 1, 1),
    "segmentation/segmentation.png": (0, 0, 1, 1),
    "super_resolution/super_resolution.png": (0, 0, 1, 1),
}
WIDTH = 1000  # pixels, at most
COLOURS = 128


def publish(source, target, box):
    """Cuts, shrinks and reduces a picture to a palette, so that it may live in a repository."""
    with Image.open(source) as file:
        picture = file.convert("RGB")
    width, height = picture.size
    cut = (box[0] * width, box[1] * height, box[2] * width, box[3] * height)
    picture = picture.crop(tuple(map(round, cut)))
    if picture.width > WIDTH:
        size = (WIDTH, round(picture.height * WIDTH / picture.width))
        picture = picture.resize(size, Image.Resampling.LANCZOS)
    target.parent.mkdir(parents=True, exist_ok=True)
    picture.quantize(COLOURS, dither=Image.Dither.NONE).save(target, optimize=True)


def run(name, folder, options):
    """Runs one example, unless it is done already; returns whether it is done."""
    done, printed = folder / name / "done", folder / f"{name}.txt"
    if not done.exists():
        print(f"{name}: see {printed}", flush=True)
        command = [sys.executable, HERE / f"{name}.py", "--out", folder / name, *options]
        # Ctrl-C is for the example, which stops in order; this program waits for it.
        handler = signal.signal(signal.SIGINT, signal.default_int_handler)
        with open(printed, "w") as log:
            example = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
            try:
                failed = example.wait()
            except KeyboardInterrupt:
                example.wait()
                raise
            finally:
                signal.signal(signal.SIGINT, handler)
        if failed:
            print(f"{name}: failed.")
            return False
        done.touch()
    return True


def main(argv=None):
    """Runs the program; returns which examples are done and which pictures were made."""
    parser = program.parser("gallery", __doc__)
    parser.set_defaults(out=HERE.parent / "out" / "gallery")
    parser.add_argument("--examples", nargs="*", choices=OPTIONS, default=list(OPTIONS))
    parser.add_argument("--images", type=Path, default=IMAGES, help="folder of the small ones")
    args = parser.parse_args(argv)
    with program.one_line_errors("gallery"):
        args.out.mkdir(parents=True, exist_ok=True)
        options = ["--seed", str(args.seed), *(["--quick"] if args.quick else [])]
        done = {name: run(name, args.out, OPTIONS[name] + options) for name in args.examples}
        made = [source for source in PICTURES if (args.out / source).exists()]
        for source in made:
            publish(args.out / source, args.images / Path(source).name, PICTURES[source])
        if not all(done.values()):
            sys.exit("gallery: not every example came to its end.")
        return {"done": done, "pictures": [str(args.images / Path(s).name) for s in made]}


if __name__ == "__main__":
    main()
