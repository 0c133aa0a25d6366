"""``senet evaluate``: what it counts, what it refuses, and that a killed run goes on without counting twice."""

import json
import os
import re
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from time import process_time

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

import conformance
import weights
from conformance.cases import TINY, seeded
from conformance.cli import main
from conformance.evaluate import journal
from conformance.evaluate.counting import Counted, Tally, places
from conformance.evaluate.evaluation import Evaluated, Worker
from conformance.evaluate.labelled import Classes
from conformance.evaluate.listed import in_list
from conformance.judge import stream
from weights import CAFFE, Info, InputError, Params, Spec, limits
from weights.images import prepare, wnids
from weights.networks.models import parse, to_dict

SIZE = 32
PREPROCESSING = replace(CAFFE, resize=36, crop=SIZE)
NAMES = ("ant", "bee", "cat")
IMAGES = 11


def senet(*args: object) -> Result:
    return CliRunner().invoke(main, [str(a) for a in args])


class Here:
    """Stands for the process of a framework, which costs more than these small networks: the reference, in this one."""

    version, dtype = "numpy here", "float32"

    def __init__(self, spec: Spec, params: Params):
        self._spec, self._params = spec, params

    def __call__(self, x: np.ndarray) -> np.ndarray:
        return conformance.run("numpy", self._spec, self._params, x, "float32")["logits"]


@pytest.fixture(autouse=True)
def _alone(monkeypatch):
    """One process, whatever runs these tests."""
    for name in ("RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)

    def predicting(name: str, spec: Spec, params: Params, *_: object):
        assert name == "numpy"
        return nullcontext(Here(spec, params))

    monkeypatch.setattr(stream, "predicting", predicting)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> Path:
    """A network of three classes."""
    path = tmp_path_factory.mktemp("checkpoint") / "three.safetensors"
    spec = replace(TINY["tiny-se-resnet"], classes=3)
    weights.write(path, spec, Params(seeded(spec, 1), Info(preprocessing=PREPROCESSING, class_names=NAMES)))
    return path


def photo(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (4, 5, 3), np.uint8)
    Image.fromarray(pixels).resize((40, 36)).save(path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    for i in range(IMAGES):
        photo(folder / NAMES[i % 3] / f"{i:02}.png", i)
    return folder


@pytest.fixture(scope="module")
def truth(checkpoint, folder) -> dict[str, int]:
    """How many are right, computed one by one."""
    spec, params = weights.read(checkpoint)
    files = sorted(folder.glob("*/*.png"))
    found = [
        np.argsort(-conformance.run("numpy", spec, params, prepare(f, PREPROCESSING), "float32")["logits"][0])[0]
        == NAMES.index(f.parent.name)
        for f in files
    ]
    assert 0 < sum(found) < len(found)
    return {"images": len(found), "right": int(sum(found))}


def result(*args: object) -> dict:
    done = senet("evaluate", *args, "--json", "-")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_places_are_those_of_a_stable_order():
    scores = np.array([[0.1, 0.5, 0.5, 0.4]] * 4)
    assert places(scores, [0, 1, 2, 3]) == (3, 0, 1, 2)
    order = np.argsort(-scores[0], kind="stable").tolist()
    assert [order.index(i) for i in range(4)] == [3, 0, 1, 2]


def test_folder_of_classes_is_counted(checkpoint, folder, truth):
    found = result(folder, "--weights", checkpoint, "--batch", 4)
    assert found["images"] == truth["images"]
    assert found["top1"] == {"right": truth["right"], "share": truth["right"] / truth["images"]}
    assert found["top5"]["right"] == truth["images"]  # of three classes
    assert found["images_per_second"] > 0
    run = found["run"]
    assert (run["framework"], run["dtype"], run["batch"], run["labels"]) == ("numpy", "float32", 4, None)
    assert run["version"] == Here.version
    assert weights.Preprocessing.from_data(run["preprocessing"]) == PREPROCESSING
    assert len(run["weights_sha256"]) == 64
    assert found["origin"]["weights"] == str(checkpoint)


def test_list_is_counted_as_the_folder_is(checkpoint, folder, tmp_path, truth):
    files = sorted(folder.glob("*/*.png"))
    for name, label in (("names", lambda f: f.parent.name), ("numbers", lambda f: NAMES.index(f.parent.name))):
        (tmp_path / name).write_text("".join(f"{f.relative_to(folder)} {label(f)}\n" for f in files))
        found = result(folder, "--weights", checkpoint, "--list", tmp_path / name)
        assert (found["images"], found["top1"]["right"]) == (truth["images"], truth["right"])


def test_people_read_shares(checkpoint, folder, truth):
    done = senet("evaluate", folder, "--weights", checkpoint)
    assert done.exit_code == 0, done.output
    assert f"top-1       {100 * truth['right'] / truth['images']:.2f} %, {truth['right']}\n" in done.stdout
    assert "images/s" in done.stdout


def test_photograph_that_cannot_be_read_is_skipped_and_listed(checkpoint, folder, tmp_path, truth):
    for file in folder.glob("*/*.png"):
        target = tmp_path / "photos" / file.relative_to(folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.symlink_to(file)
    (tmp_path / "photos" / "ant" / "bad.png").write_bytes(b"no image")
    args = ("evaluate", tmp_path / "photos", "--weights", checkpoint, "--batch", 4, "--json", "-")
    done = senet(*args)
    assert done.exit_code == 1
    found = json.loads(done.stdout)
    assert (found["images"], found["top1"]["right"]) == (truth["images"], truth["right"])
    assert [one["image"] for one in found["skipped"]] == ["ant/bad.png"]
    assert "bad.png: is not an image" in found["skipped"][0]["reason"]
    assert "senet: skipped: ant/bad.png" in done.stderr


def test_only_photographs_that_cannot_be_read_are_bad_input(checkpoint, tmp_path):
    (tmp_path / "ant").mkdir()
    (tmp_path / "ant" / "bad.png").write_bytes(b"no image")
    done = senet("evaluate", tmp_path, "--weights", checkpoint)
    assert (done.exit_code, done.stdout) == (2, "")
    assert "none of the 1 photographs can be read" in done.stderr


# Folders and lists that do not fit.


def refused(*args: object) -> str:
    done = senet("evaluate", *args)
    assert (done.exit_code, done.stdout, done.stderr.count("\n")) == (2, "", 1), done.output
    return done.stderr


def _touch(*names: str) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        for name in names:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).touch()

    return make


def _link(name: str, to: str) -> Callable[[Path], None]:
    """A photograph of an ant, and a link."""

    def make(folder: Path) -> None:
        _touch("ant/1.png")(folder)
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).symlink_to(to)

    return make


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (_touch("dog/1.png"), "dog: is no folder of a class of the checkpoint, as ant is"),
        (_touch("ant/1.png", "2.jpg"), "2.jpg: is in no folder of a class"),
        (_touch("ant/1.png", "bee/notes.txt"), "bee: has no photographs"),
        (_touch("ant/more/1.png"), "more: is a folder in the folder of a class"),
        (_link("bee", "ant"), "ant under another name, and would count twice"),
        (_link("bee/1.png", "../ant/1.png"), "ant/1.png under another name"),
        (_link("bee", "nowhere"), "bee: is no folder, and has the name of a class"),
        (_touch("notes.txt", ".hidden/1.png"), "has no folders of classes, as ant would be"),
    ],
)
def test_folder_that_does_not_fit_is_one_line(make, message, checkpoint, tmp_path):
    make(tmp_path)
    assert message in refused(tmp_path, "--weights", checkpoint)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("ant/00.png 0\nant/99.png 0", "line 2: there is no "),
        ("ant/00.png 0\nant/00.png 1", "ant/00.png stands in line 1 and in line 2, with another class"),
        ("ant/00.png 0\nbee/../ant/00.png 0", "in line 1 and in line 2 as bee/../ant/00.png, with the same class"),
        ("bee/01.png\tox", "line 1: 'ox' is no class"),
        ("ant/00.png\n", "line 1 is 'ant/00.png', expected a path and a class"),
        ("ant/00.png 3", "line 1: class 3, expected 0 to 2; numbers begin with 0"),
        ("ant/00.png 0\nbee/01.png bee", "line 1: '0' is the name of no class; all are names, or all numbers"),
        ("ant/00.png -1", "line 1: '-1' is no class"),
        ("\n\n", "has no lines"),
        (b"\xff\xfe", "is not text in UTF-8"),
    ],
)
def test_list_that_does_not_fit_is_one_line(lines, message, checkpoint, folder, tmp_path):
    path = tmp_path / "list.txt"
    path.write_bytes(lines if isinstance(lines, bytes) else lines.encode())
    assert message in refused(folder, "--weights", checkpoint, "--list", path)


def test_what_is_passed_over_is_said_and_a_link_to_nowhere_is_skipped(checkpoint, tmp_path):
    photo(tmp_path / "ant" / "1.png", 1)
    for name in ("a.avif", "b.AVIF", "notes.txt", "README"):
        (tmp_path / "ant" / name).touch()
    Image.new("RGB", (40, 36)).save(tmp_path / "ant" / "2.jfif", "JPEG")
    (tmp_path / "ant" / "3.png").symlink_to("nowhere")
    (tmp_path / "ant" / "4.png").symlink_to("4.png")
    done = senet("evaluate", tmp_path, "--weights", checkpoint, "--json", "-")
    assert done.exit_code == 1, done.output
    assert (
        done.stderr.count("passed over, as no photographs by their suffix: 2 of .avif, 1 of no suffix, 1 of .txt") == 1
    )
    found = json.loads(done.stdout)
    assert (found["images"], [one["image"] for one in found["skipped"]]) == (2, ["ant/3.png", "ant/4.png"])
    (tmp_path / "list").write_text("ant/1.png 0\nant/3.png 0\n")
    assert senet("evaluate", tmp_path, "--weights", checkpoint, "--list", tmp_path / "list").exit_code == 1


def test_byte_order_marks_are_no_part_of_a_text(checkpoint, folder, tmp_path):
    texts = {"names": "ox\nbee\ncat\n", "list": "ant/00.png ox\n", "how.json": json.dumps(asdict(PREPROCESSING))}
    for name, text in texts.items():
        (tmp_path / name).write_text(text, "utf-8-sig")
    spec, params = weights.read(checkpoint)
    weights.write(tmp_path / "x.safetensors", spec, Params(params, Info()))
    given = ("--class-names", tmp_path / "names", "--preprocessing", tmp_path / "how.json")
    args = (folder, "--weights", tmp_path / "x.safetensors", *given, "--list", tmp_path / "list")
    assert result(*args)["images"] == 1
    (tmp_path / "spec.json").write_text(json.dumps(to_dict(spec)), "utf-8-sig")
    assert parse(str(tmp_path / "spec.json")) == spec
    weights.write(tmp_path / "x.caffemodel", spec, params)
    plain, definition = weights.read(tmp_path / "x.caffemodel"), tmp_path / "x.prototxt"
    definition.write_text(definition.read_text(), "utf-8-sig")
    assert weights.read(tmp_path / "x.caffemodel").info == plain.info


# Names that are numbers, and names of several words.


@pytest.fixture(scope="module")
def odd(tmp_path_factory) -> tuple[Path, Path]:
    """A network with such names, and photographs."""
    folder = tmp_path_factory.mktemp("odd")
    spec = replace(TINY["tiny-se-resnet"], classes=5)
    names = ("1", "2", "hot dog", "dog", "route 66")
    weights.write(
        folder / "x.safetensors", spec, Params(seeded(spec, 1), Info(preprocessing=PREPROCESSING, class_names=names))
    )
    for i, name in enumerate(("a.png", "b.png", "c.png", "c.png hot")):
        photo(folder / "photos" / "x.png", i)
        (folder / "photos" / "x.png").rename(folder / "photos" / name)
    return folder / "x.safetensors", folder / "photos"


@pytest.mark.parametrize(
    ("text", "kind", "expected"),
    [
        ("a.png 1", None, "its classes are numbers, and so are names of the checkpoint's classes (1): state --list-"),
        ("a.png 1\nb.png 0", None, "state --list-labels, names or indices"),
        ("a.png 1", "names", [0]),
        ("a.png 1\nb.png 0", "indices", [1, 0]),
        ("a.png 1\nb.png 0", "names", "line 2: '0' is the name of no class"),
        ("a.png 1\nb.png hot dog", None, [0, 2]),
        ("a.png dog\nb.png 0", None, "line 2: '0' is the name of no class"),
        ("a.png dog", "indices", "names its classes; leave out --list-labels"),
        ("a.png hot dog\nb.png dog", None, [2, 3]),
        ("a.png route 66\nb.png\tdog", None, [4, 3]),
        ("c.png hot dog", None, "line 1: its class is 'hot dog' or 'dog'; put a tab before the class"),
        ("c.png hot\tdog\nc.png\thot dog", None, [3, 2]),
        ("a.png cold dog", None, "line 1: there is no "),
        ("hot dog", "names", "there is no "),
    ],
)
def test_classes_in_a_list_are_told_apart_or_asked_for(text, kind, expected, odd, tmp_path):
    file, folder = odd
    (tmp_path / "list").write_text(text)
    classes = Classes.of(weights.read(file))
    if isinstance(expected, str):
        with pytest.raises(InputError, match=re.escape(expected)):
            in_list(tmp_path / "list", folder, classes, kind)
    else:
        assert [one.label for one in in_list(tmp_path / "list", folder, classes, kind)] == expected


def test_list_is_read_as_far_as_it_is_sound(folder, tmp_path):
    file = tmp_path / "list.txt"
    for line, said in (("ant/none.png ant", "line 1: there is no"), ("ant/00.png ant\nant/00.png ant", "in line 2")):
        file.write_bytes(f"{line}\n".encode() + b"\n" * 100_000 + b"\xff")
        with pytest.raises(InputError, match=said):
            in_list(file, folder, Classes(3, NAMES, None), None)


def test_lines_end_with_line_breaks_only(tmp_path):
    for name in ("a\x0bb.png", "a\u2028b.png"):
        photo(tmp_path / name, 0)
        (tmp_path / "list.txt").write_text(f"{name} ant\r\n", encoding="utf-8", newline="")
        assert [x.name for x in in_list(tmp_path / "list.txt", tmp_path, Classes(3, NAMES, None), None)] == [name]


def test_long_line_and_long_names_take_no_time(folder, tmp_path):
    classes = Classes(2, ("a " * 100_000, "cat"), None)
    (tmp_path / "list.txt").write_text("a " * 200_000 + "cat\n")
    start = process_time()
    with pytest.raises(InputError, match="there is no"):
        in_list(tmp_path / "list.txt", folder, classes, None)
    assert process_time() - start < 1  # looking at each word's end took 3 s


def test_what_numbers_are_is_an_option(odd, tmp_path):
    file, folder = odd
    (tmp_path / "list").write_text("a.png 1")
    args = (folder, "--weights", file, "--list", tmp_path / "list")
    assert "state --list-labels" in refused(*args)
    assert result(*args, "--list-labels", "indices")["origin"]["list_labels"] == "indices"


def test_order_of_classes_of_ones_own_is_not_stated(checkpoint, folder, tmp_path):
    (tmp_path / "list.txt").write_text("ant/00.png 0\n")
    said = refused(folder, "--weights", checkpoint, "--list", tmp_path / "list.txt", "--list-labels", "devkit")
    assert "has classes of its own; leave out --list-labels" in said
    assert "--list-labels: is for" in refused(folder, "--weights", checkpoint, "--list-labels", "devkit")


def test_classes_without_names_are_asked_for(folder, tmp_path):
    path = tmp_path / "x.safetensors"
    spec = replace(TINY["tiny-se-resnet"], classes=3)
    weights.write(path, spec, Params(seeded(spec, 1), Info(preprocessing=PREPROCESSING)))
    assert "does not name its 3 classes: state --class-names" in refused(folder, "--weights", path)
    (tmp_path / "names.txt").write_text("\n".join(NAMES))
    assert result(folder, "--weights", path, "--class-names", tmp_path / "names.txt")["images"] == IMAGES


@pytest.mark.parametrize("options", [(), ("--merge", "nowhere", "--fresh")])
def test_what_is_missing_or_too_much_is_said(options):
    done = senet("evaluate", *options)
    assert (done.exit_code, done.stderr.count("\n")) == (2, 1)


# The order of ImageNet's classes.


@pytest.fixture(scope="module")
def imagenet(tmp_path_factory):
    """A network of a thousand classes in devkit order that always says the first one, a kit fox, and a list of 120."""
    folder = tmp_path_factory.mktemp("imagenet")
    spec = replace(TINY["tiny-se-resnet"], classes=1000)
    params = seeded(spec, 1)
    params["fc.weight"][:] = 0
    params["fc.bias"][:] = -np.arange(1000)
    info = Info(preprocessing=PREPROCESSING, labels="devkit")
    weights.write(folder / "x.safetensors", spec, Params(params, info))
    photo(folder / "photos" / "0.png", 0)
    for i in range(1, 120):
        os.link(folder / "photos" / "0.png", folder / "photos" / f"{i}.png")
    return folder


def numbered(folder: Path, number: int | str) -> Path:
    path = folder / f"{number}.txt"
    path.write_text("".join(f"{i}.png {number}\n" for i in range(120)))
    return path


def test_numbers_are_read_in_the_order_that_is_stated(imagenet):
    kit_fox = {"devkit": 0, "sorted": wnids("sorted").index(wnids("devkit")[0])}
    args = (imagenet / "photos", "--weights", imagenet / "x.safetensors", "--list")
    assert "state --list-labels" in refused(*args, numbered(imagenet, 0))
    for order, number in kit_fox.items():
        found = result(*args, numbered(imagenet, number), "--list-labels", order, "--batch", 120)
        assert (found["images"], found["top1"]["right"]) == (120, 120)
    assert result(*args, numbered(imagenet, wnids("devkit")[0]), "--batch", 120)["top1"]["share"] == 1


def test_wrong_order_is_refused_and_not_reported_as_zero(imagenet, tmp_path):
    args = (imagenet / "photos", "--weights", imagenet / "x.safetensors", "--batch", 120, "--list")
    said = refused(*args, numbered(imagenet, 0), "--list-labels", "sorted", "--json", tmp_path / "x.json")
    assert "the label order is wrong: 0 of 120 images are right, and 120 would be if " in said
    assert not (tmp_path / "x.json").exists()


def test_wrong_order_of_the_checkpoint_is_refused(imagenet, tmp_path):
    found = weights.read(imagenet / "x.safetensors")
    lies = Params(found.params, replace(found.info, labels="sorted"))  # the kit fox is still its first class
    weights.write(tmp_path / "lies.safetensors", found.spec, lies)
    kit_fox = wnids("devkit")[0]
    args = (imagenet / "photos", "--weights", tmp_path / "lies.safetensors", "--batch", 120)
    said = refused(*args, "--list", numbered(imagenet, kit_fox))
    assert "0 of 120 images are right, and 120 would be if the checkpoint's labels were devkit" in said


@pytest.mark.parametrize(
    ("images", "right", "other", "wrong"),
    [(99, 0, 99, False), (100, 0, 4, False), (100, 0, 5, True), (100, 3, 6, False)],
)
def test_order_is_judged_by_enough_images(images, right, other, wrong):
    tally = Tally(images=images, right=right, of_network=other)
    if wrong:
        with pytest.raises(InputError, match="the label order is wrong"):
            tally.check("devkit")
    else:
        tally.check("devkit")


def test_folders_of_wordnet_ids_are_classes_of_imagenet(imagenet, tmp_path):
    for name in (wnids("devkit")[0], wnids("devkit")[5]):
        photo(tmp_path / name / "0.png", 0)
    found = result(tmp_path, "--weights", imagenet / "x.safetensors")
    assert (found["images"], found["top1"]["right"], found["top5"]["right"]) == (2, 1, 1)
    photo(tmp_path / "n00000000" / "0.png", 0)
    assert "is no folder of a WordNet id" in refused(tmp_path, "--weights", imagenet / "x.safetensors")


# The journal.


def counts(found: dict) -> dict:
    """What does not depend on time."""
    return {key: found[key] for key in ("images", "top1", "top5", "skipped")}


@pytest.fixture
def evaluated(checkpoint, folder, tmp_path):
    """An evaluation with a journal: the arguments, and its folder."""
    return (folder, "--weights", checkpoint, "--batch", 2, "--journal", tmp_path / "journal"), tmp_path / "journal"


def cut(file: Path, lines: int, more: int = 0) -> None:
    """Leaves so many lines of a file, and so many bytes of the next one."""
    data = file.read_bytes()
    file.write_bytes(b"".join(data.splitlines(keepends=True)[:lines]) + data.splitlines()[lines][:more])


def test_run_goes_on_from_what_is_whole(evaluated):
    args, folder = evaluated
    whole = result(*args)
    file = folder / "rank-0.jsonl"
    lines = file.read_bytes().splitlines(keepends=True)
    assert len(lines) == 1 + 6
    for left, more in ((0, 20), (3, 25), (6, 1)):
        cut(file, left, more)
        before = file.read_bytes().splitlines(keepends=True)[:left]
        assert counts(result(*args)) == counts(whole)
        after = file.read_bytes().splitlines(keepends=True)
        assert after[:left] == before  # only ever added to
        assert [json.loads(line)["batch"] for line in after[1:]] == list(range(6))


def test_run_that_is_done_computes_nothing(evaluated, monkeypatch):
    args, _ = evaluated
    whole = result(*args)
    monkeypatch.setattr(stream, "predicting", None)
    assert result(*args) | {"machine": None} == whole | {"machine": None}


@pytest.mark.parametrize(
    ("option", "value", "name"),
    [("--batch", 3, "batch"), ("--max-pixels", 10**6, "max_pixels"), ("--framework", "torch", "framework")],
)
def test_journal_of_another_run_is_refused(option, value, name, evaluated):
    args, folder = evaluated
    folder.mkdir()
    run = {"batch": 2, "max_pixels": None, "framework": "numpy"}
    result(*args)
    said = refused(*args, option, value)
    assert f"rank-0.jsonl: is of another evaluation: {name} was {json.dumps(run[name])}, and is" in said
    assert "--fresh" in said


def test_journal_of_other_images_or_weights_is_refused_and_begun_anew(checkpoint, tmp_path):
    photo(tmp_path / "photos" / "ant" / "0.png", 0)
    file = tmp_path / "x.safetensors"
    file.write_bytes(checkpoint.read_bytes())
    args = (tmp_path / "photos", "--weights", file, "--journal", tmp_path / "journal")
    result(*args)
    photo(tmp_path / "photos" / "bee" / "1.png", 1)
    assert "images was 1, and is 2 now" in refused(*args)
    assert result(*args, "--fresh")["images"] == 2
    found = weights.read(file)
    weights.write(file, found.spec, Params({**found.params, "fc.bias": found.params["fc.bias"] + 1}, found.info))
    assert "weights_sha256 was" in refused(*args)


@pytest.mark.parametrize("text", ["{}\n", "[]\n", "nonsense\n", '{"journal": 2}\n', '{"mine":1}', "\0" * 99])
def test_file_of_others_is_neither_added_to_nor_removed(text, evaluated):
    args, folder = evaluated
    folder.mkdir()
    (folder / "rank-0.jsonl").write_text(text)
    for more in ((), ("--fresh",)):
        assert "rank-0.jsonl: is no journal of an evaluation; name another folder" in refused(*args, *more)
    assert "is no journal" in refused("--merge", folder)
    assert (folder / "rank-0.jsonl").read_text() == text


def test_kill_within_the_first_line_is_gone_on_from(evaluated):
    args, folder = evaluated
    whole = result(*args)
    for more in (0, 1, 9, 200):
        cut(folder / "rank-0.jsonl", 0, more)
        assert counts(result(*args)) == counts(whole)


@pytest.mark.parametrize(
    "change",
    [
        {"images": None},
        {"images": "11"},
        {"images": -11},
        {"images": 11.0},
        {"images": True},
        {"images": 10**18},
        {"images": 10**60},
        {"batch": 0},
        {"batch": None},
        {"version": None},
        {"dtype": [1]},
        {"framework": {}},
    ],
    ids=str,
)
def test_run_that_is_none_is_refused_at_once(change, evaluated):
    args, folder = evaluated
    result(*args)
    file = folder / "rank-0.jsonl"
    first, *others = file.read_text().splitlines(keepends=True)
    header = json.loads(first)
    header["run"] |= change
    file.write_text(json.dumps(header, separators=(",", ":")) + "\n" + "".join(others))
    said = refused("--merge", folder)
    assert "is a damaged journal" in said or "batches are missing, the first is 6" in said


@pytest.mark.parametrize(
    "change",
    [
        {"batch": -1},
        {"batch": 6},
        {"batch": 10**30},
        {"batch": True},
        {"places": []},
        {"places": [0] * 1000},
        {"places": [-1, 0]},
        {"places": [True, 0]},
        {"elsewhere": [-1, 0]},
        {"elsewhere": [3, 0]},
        {"skipped": [["a.png", "why"]]},
        {"skipped": [1]},
        {"seconds": 0.0},
        {"seconds": float("nan")},
        {"seconds": float("inf")},
    ],
    ids=str,
)
def test_batch_that_is_none_is_refused(change, evaluated):
    args, folder = evaluated
    result(*args)
    file = folder / "rank-0.jsonl"
    lines = file.read_text().splitlines(keepends=True)
    lines[1] = json.dumps(json.loads(lines[1]) | change) + "\n"
    file.write_text("".join(lines))
    for command in (args, ("--merge", folder)):
        assert "rank-0.jsonl: is a damaged journal of an evaluation" in refused(*command)
    assert counts(result(*args, "--fresh"))


def test_journal_of_more_lines_than_batches_is_refused(evaluated, monkeypatch):
    args, folder = evaluated
    result(*args)
    with (folder / "rank-0.jsonl").open("a") as file:
        file.write((folder / "rank-0.jsonl").read_text().splitlines(keepends=True)[1] * 10)
    assert counts(result(*args))["images"] == IMAGES  # twice is once
    monkeypatch.setattr(limits, "BATCHES", 15)
    assert "has more than 15 lines" in refused(*args)
    monkeypatch.setattr(limits, "BATCHES", 5)
    assert "--journal: 6 batches, at most 5 are kept" in refused(*args)


def test_journal_that_another_process_writes_is_refused(evaluated):
    args, folder = evaluated
    run = {"a": 1}
    with journal.appending(folder, 0, run, {}):
        with pytest.raises(InputError, match="another process is writing it"), journal.appending(folder, 0, run, {}):
            pass
        assert "another process is writing it" in refused(*args, "--fresh")


def test_result_is_not_written_into_a_journal(evaluated):
    args, folder = evaluated
    result(*args)
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    for where in (folder / "rank-0.jsonl", folder / "x.json"):
        assert "is in " in refused(*args, "--json", where)
        assert str(folder) in refused("--merge", folder, "--json", where)
    assert "it is a folder" in refused(*args, "--json", folder)
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == before


@pytest.mark.parametrize(
    ("option", "place", "said"),
    [
        ("--json", "none/x.json", "none/x.json: cannot be written: there is no "),
        ("--json", "folder", "folder: cannot be written: it is a folder"),
        ("--json", "file/x.json", "not a directory"),
        ("--journal", "file", "file is no folder"),
        ("--journal", "file/journal", "file is no folder"),
    ],
)
def test_places_are_looked_at_before_anything_is_computed(option, place, said, folder, tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    assert said in refused(folder, "--weights", "no weights", option, tmp_path / place)


# Several processes.


def test_shares_cover_every_batch_once_whoever_did_some():
    for world in (1, 2, 3, 7):
        found = [Worker(rank, world).of(20, (3, 4)) for rank in range(world)]
        assert sorted(batch for numbers in found for batch in numbers) == [i for i in range(20) if i not in (3, 4)]


def test_result_is_the_same_in_any_order():
    counted = [Counted(batch=i, places=(i, 0, 7), skipped=((f"{i}.png", "why"),), seconds=0.5) for i in range(5)]
    assert Evaluated.of(counted) == Evaluated.of(reversed(counted))
    assert Evaluated.of(counted).top1 == 6


def test_processes_count_what_one_counts(evaluated, monkeypatch):
    args, folder = evaluated
    whole = result(*args[:-2])
    monkeypatch.setenv("WORLD_SIZE", "3")
    said = ""
    for rank in range(3):
        if rank == 2:
            assert "2 of 6 batches are missing, the first is 2" in refused("--merge", folder)
        monkeypatch.setenv("RANK", str(rank))
        done = senet("evaluate", *args)
        assert done.exit_code == 0, done.output
        said = done.stdout
    assert f"evaluate --merge {folder} prints the result" in said
    assert sorted(file.name for file in folder.iterdir()) == ["rank-0.jsonl", "rank-1.jsonl", "rank-2.jsonl"]
    merged = result("--merge", folder)
    assert counts(merged) == counts(whole)
    assert merged["run"] == whole["run"]


@pytest.mark.parametrize(
    ("rank", "world", "options", "message"),
    [
        ("0", "2", (), "WORLD_SIZE=2: name a --journal"),
        ("2", "2", (), "RANK=2, WORLD_SIZE=2: expected two numbers"),
        ("x", "2", (), "RANK=x, WORLD_SIZE=2: expected two numbers"),
        ("0", "9" * 5000, (), "RANK=0, WORLD_SIZE=99999999999999999999: expected two numbers"),
        ("0", "2", ("--journal", "j", "--fresh"), "--fresh: one process would remove what another counts"),
        ("0", "2", ("--journal", "j", "--json", "x.json"), "--json: the result is known when all have ended"),
        ("0", "1", ("--fresh",), "--fresh: there is no --journal"),
    ],
)
def test_several_processes_need_a_journal(rank, world, options, message, checkpoint, folder, monkeypatch):
    monkeypatch.setenv("RANK", rank)
    monkeypatch.setenv("WORLD_SIZE", world)
    assert message in refused(folder, "--weights", checkpoint, *options)


def test_nothing_to_merge_is_one_line(tmp_path):
    assert "has no journal" in refused("--merge", tmp_path)
