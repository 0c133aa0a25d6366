"""Ports that are wrong in ways that are hard to see: each is caught, and where it is wrong is said."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from conformance import cases
from conformance.adapters import numpy as right
from conformance.judge.compare import verdicts
from conformance.judge.measure import demanding
from conformance.judge.question import Forward, Question, every
from conformance.judge.verdict import Verdict
from conformance.reference import backward, forward
from conformance.reference.backward import decides
from weights import MODELS
from weights.errors import InputError
from weights.networks.network import as_network
from weights.networks.operations import Act

SPEC = cases.TINY["tiny-se-resnet"]
NETWORK = SPEC.network()
PARAMS = cases.seeded(SPEC, 71)
X = cases.image(72, 2, 67, 59)
BATCHES = cases.batches(NETWORK, 74, size=(64, 48))
QUESTIONS = tuple(every(NETWORK, (X,), 73, BATCHES))
SIZES = tuple(every(NETWORK, (X, cases.image(75, 2, 64, 48)), 73, cases.batches(NETWORK, 74, size=(48, 64))))
"""The same of two sizes."""


class Port:
    """The reference, with functions of its own in the place of some."""

    NAME = "mine"

    def __init__(self, **functions: Any) -> None:
        for name in ("version", "build", "taps", "gradients", "train"):
            setattr(self, name, functions.get(name, getattr(right, name)))
        for name in {"dtype", "logits"} & functions.keys():
            setattr(self, name, functions[name])


def judged(port: Port, dtype: str, asked: tuple[Question, ...] = QUESTIONS, **demands: Any) -> dict[str, Verdict]:
    found = verdicts(port, NETWORK, PARAMS, asked, dtype, demanding(**{"required": (), **demands}))  # type: ignore[arg-type]
    return {question.what: verdict for question, verdict in found}


def taps_with(change: Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]]) -> Port:
    return Port(taps=lambda model, x: change(dict(right.taps(model, x))))


def gradients_with(change: Callable[[str, np.ndarray], np.ndarray], *, only_in_training: bool = False) -> Port:
    def gradients(model: Any, x: np.ndarray, cotangent: np.ndarray, training: bool = False) -> dict[str, np.ndarray]:
        found = right.gradients(model, x, cotangent, training)
        if only_in_training and not training:
            return found
        nodes = as_network(model.network).by_name
        return {name: a if name in nodes else change(name, a) for name, a in found.items()}

    return Port(gradients=gradients)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_the_right_port_agrees_in_everything(dtype):
    found = judged(Port(), dtype, required=("taps", "gradients", "training"))
    asked = ["taps", "gradients", "training gradients", "statistics", "momentum"]
    asked += ["training"] if dtype == "float64" else []
    assert {what: verdict.status for what, verdict in found.items()} == dict.fromkeys(asked, "agreed")


def test_a_port_with_another_network_inside_is_wrong_in_its_layers_alone():
    def taps(_model: Any, x: np.ndarray) -> dict[str, np.ndarray]:
        return right.taps(right.build(replace(SPEC, eps=1.1e-5), PARAMS, "float32"), x)

    found = judged(Port(taps=taps), "float32")["taps"]
    assert found.status == "disagreed"
    # By themselves: every BatchNorm with variances that an eps shows in, and nothing that only reads their outputs.
    assert found.wrong_layers
    assert all(".bn" in name for name in found.wrong_layers)
    assert max(found.errors.values()) <= 1e-5  # from the image on there is nothing to see


def test_several_wrong_layers_are_all_named():
    def taps(_model: Any, x: np.ndarray) -> dict[str, np.ndarray]:
        wrong = dict(PARAMS)
        for name in ("stage1.0.conv2.weight", "stage4.0.conv1.weight"):
            wrong[name] = wrong[name] * np.float32(1 + 1e-3)
        return right.taps(right.build(SPEC, wrong, "float32"), x)

    assert judged(Port(taps=taps), "float32")["taps"].wrong_layers == ("stage1.0.conv2", "stage4.0.conv1")


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_everything_wrong_after_the_first_image_is_caught(dtype):
    def change(taps: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        for array in taps.values():
            array[1:] *= 2
        return taps

    assert judged(taps_with(change), dtype)["taps"].status == "disagreed"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda a: a.astype(complex), "an array of complex128"),
        (lambda a: a.astype(object), "an array of object"),
        (lambda a: a.astype(str), "an array of <U"),
        (lambda a: a.astype(np.int64), "an array of int64"),
        (lambda a: a.astype(bool), "an array of bool"),
    ],
    ids=["complex", "object", "text", "integers", "booleans"],
)
def test_numbers_that_are_not_real_are_refused(change, said):
    port = taps_with(lambda taps: taps | {"stage2.0": change(taps["stage2.0"])})
    with pytest.raises(TypeError, match=said):
        judged(port, "float64")


def test_a_port_cannot_choose_its_own_bound():
    def lies(_spec: Any, _shape: Any, _dtype: str) -> str:
        return "bfloat16"

    port = Port(dtype=lies, build=lambda spec, params, _dtype: right.build(spec, params, "float64"))
    found = judged(port, "float64")["taps"]
    assert (found.status, found.asked, found.dtype) == ("otherwise", "float64", "bfloat16")
    assert "--allow-dtype bfloat16" in found.message
    assert judged(port, "float64", dtypes=("bfloat16",))["taps"].status == "agreed"


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_an_error_of_nearly_the_bound_is_suspicious_where_no_layer_can_be_judged(dtype):
    off = {"float64": 0.9e-13, "float32": 0.9e-5}[dtype]
    port = taps_with(lambda taps: {"logits": taps["logits"] + off * np.abs(taps["logits"]).max().astype(dtype)})
    found = judged(port, dtype)["taps"]
    assert found.status == "suspicious"
    assert "roundings, plain rounding makes" in found.message


def test_a_layer_that_follows_from_what_it_was_given_is_not_suspicious():
    # The same image a little brighter, in float32: every layer does what it should, of another input.
    port = Port(taps=lambda model, x: right.taps(model, x * np.float32(1 + 4e-6)))
    found = judged(port, "float32")["taps"]
    assert found.wrong_layers == ("stem.conv1",)


@pytest.mark.parametrize("factor", [1.009, 1.0005])
def test_gradients_that_are_all_off_by_a_factor_are_caught_in_float32(factor):
    found = judged(gradients_with(lambda _name, a: a * np.float32(factor)), "float32")
    assert [found[what].status for what in ("gradients", "training gradients")] == ["disagreed"] * 2


def test_gradients_that_are_wrong_only_in_training_are_caught():
    def change(name: str, a: np.ndarray) -> np.ndarray:
        return a * 1.001 if name.endswith("bn1.weight") else a

    for dtype in ("float64", "float32"):
        found = judged(gradients_with(change, only_in_training=True), dtype)
        assert (found["gradients"].status, found["training gradients"].status) == ("agreed", "disagreed")


def test_gradients_without_taps_of_their_pass_are_not_judged_in_float32():
    def gradients(model: Any, x: np.ndarray, cotangent: np.ndarray, training: bool = False) -> dict[str, np.ndarray]:
        found = right.gradients(model, x, cotangent, training)
        return {name: a for name, a in found.items() if name not in NETWORK.by_name}

    port = Port(gradients=gradients)
    assert judged(port, "float64")["gradients"].status == "agreed"
    assert judged(port, "float32")["gradients"].status == "absent"
    assert judged(port, "float32", required=("gradients",))["gradients"].status == "failed"


def test_taps_of_another_pass_do_not_excuse_gradients():
    # Switches of a network whose ReLUs all let through: its taps are not those of this network.
    def gradients(model: Any, x: np.ndarray, cotangent: np.ndarray, training: bool = False) -> dict[str, np.ndarray]:
        found = right.gradients(model, x, cotangent, training)
        return {name: np.abs(a) if "relu" in name else a for name, a in found.items()} | {
            "stage2.0.relu1": found["stage2.0.relu1"] + np.float32(1)
        }

    found = judged(Port(gradients=gradients), "float32")["gradients"]
    assert found.status == "disagreed"
    assert "in the pass of the gradients stage2.0.relu1 is off" in found.message


def test_training_that_returns_nothing_is_caught():
    found = judged(Port(train=lambda *_: {}), "float64")
    assert (found["statistics"].status, found["training"].status) == ("disagreed", "disagreed")
    assert found["training"].message.startswith("there is no tensor 'stem.conv1.weight', nor ")


def test_a_statistic_that_stays_as_it_was_is_caught_after_a_step():
    def train(model: Any, batches: Any, recipe: Any) -> dict[str, np.ndarray]:
        return dict(right.train(model, batches, recipe)) | {
            "stem.bn1.running_var": model.params["stem.bn1.running_var"]
        }

    for dtype in ("float64", "float32"):
        found = judged(Port(train=train), dtype)["statistics"]
        assert (found.status, found.first_divergent) == ("disagreed", "stem.bn1.running_var")


def test_a_port_that_trains_without_momentum_is_caught():
    def train(model: Any, batches: Any, recipe: Any) -> dict[str, np.ndarray]:
        return dict(right.train(model, batches, replace(recipe, momentum=0)))

    assert judged(Port(train=train), "float64")["training"].status == "disagreed"


def test_taps_can_be_demanded():
    few = taps_with(lambda taps: {name: taps[name] for name in ("stem.conv1", "logits")})
    assert judged(few, "float64")["taps"].status == "agreed"
    found = judged(few, "float64", taps="all")["taps"]
    assert (found.status, len(found.missing)) == ("disagreed", len(NETWORK.nodes) - 2)
    assert found.message == "there are 2 taps, demanded are 94; the first that is missing is stem.bn1"
    alone = taps_with(lambda taps: {"logits": taps["logits"]})
    assert judged(alone, "float64", required=("taps",))["taps"].status == "disagreed"


def test_what_a_port_cannot_do_is_said_and_fails_where_it_is_required():
    class Bare:
        NAME, version, build, taps = (
            "mine",
            staticmethod(right.version),
            staticmethod(right.build),
            staticmethod(right.taps),
        )

    def asked(required: tuple[str, ...]) -> dict[str, str]:
        found = verdicts(Bare(), NETWORK, PARAMS, QUESTIONS, "float64", demanding(required))  # type: ignore[arg-type]
        return {question.what: verdict.status for question, verdict in found}

    assert set(asked(()).values()) == {"agreed", "absent"}
    assert asked(("gradients",))["gradients"] == "failed"
    assert {status for what, status in asked(("training",)).items() if what not in ("taps", "gradients")} == {"failed"}


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_what_a_port_is_given_is_its_own(dtype):
    def build(spec: Any, params: Any, dtype: str) -> Any:
        for name in params:
            if name.endswith("running_var"):
                params[name][...] *= 4
        return right.build(spec, params, dtype)

    def taps(model: Any, x: np.ndarray) -> dict[str, np.ndarray]:
        x[:] = x[:, ::-1]
        return right.taps(model, x)

    def gradients(model: Any, x: np.ndarray, cotangent: np.ndarray, training: bool = False) -> dict[str, np.ndarray]:
        cotangent *= 2
        return right.gradients(model, x, cotangent, training)

    assert judged(Port(build=build), dtype)["taps"].status == "disagreed"
    assert judged(Port(taps=taps), dtype)["taps"].status == "disagreed"
    assert judged(Port(gradients=gradients), dtype)["gradients"].status == "disagreed"


def test_a_relu_that_is_not_quite_one_is_not_excused_by_its_own_taps():
    # Whatever lies above -5e-5 of the largest value passes, forward and backward, and so its taps say.
    def gradients(model: Any, x: np.ndarray, cotangent: np.ndarray, training: bool = False) -> dict[str, np.ndarray]:
        found = dict(right.gradients(model, x, cotangent, training))
        for name, node in NETWORK.by_name.items():
            if node.op == Act("relu") and node.inputs[0] in found:
                pre = found[node.inputs[0]]
                lifted = (pre <= 0) & (pre > -5e-5 * np.abs(pre).max())
                found[name] = np.where(lifted, np.float32(1e-6), found[name])
        return found

    found = judged(Port(gradients=gradients), "float32")["gradients"]
    assert found.status == "disagreed"
    assert any("relu" in name for name in found.wrong_layers)


def test_a_step_of_another_rate_is_caught_in_float32():
    def train(model: Any, batches: Any, recipe: Any) -> dict[str, np.ndarray]:
        return dict(right.train(model, batches, replace(recipe, learning_rate=2 * recipe.learning_rate)))

    assert judged(Port(train=train), "float32")["statistics"].status == "disagreed"


def test_a_port_that_is_right_for_several_images_alone_is_caught():
    def taps(model: Any, x: np.ndarray) -> dict[str, np.ndarray]:
        found = right.taps(model, x)
        return found if len(x) > 1 else found | {"logits": found["logits"] * 1.01}

    assert judged(Port(taps=taps), "float64")["taps"].first_divergent == "logits"


def test_a_port_is_not_trusted_for_its_name():
    port = Port(dtype=lambda *_: "float32")
    setattr(port, "NAME", "numpy")  # noqa: B010, it is a constant of the class
    assert judged(port, "float64")["taps"].status == "otherwise"


def test_gradients_that_take_any_option_are_asked_in_training():
    def gradients(model: Any, x: np.ndarray, cotangent: np.ndarray, **_options: Any) -> dict[str, np.ndarray]:
        return right.gradients(model, x, cotangent)

    assert judged(Port(gradients=gradients), "float64")["training gradients"].status == "disagreed"


def test_what_has_no_bound_cannot_be_required():
    with pytest.raises(InputError, match="gradients in float16 cannot be required: there is no bound for it"):
        judged(Port(), "float16", required=("gradients",))


@pytest.mark.parametrize(
    ("demands", "said"),
    [
        ({"required": "gradients"}, "several texts"),
        ({"required": ("speed",)}, "unknown requirement 'speed'"),
        ({"taps": 0}, "0 taps: expected a number from 1, or 'all'"),
        ({"taps": -3}, "-3 taps"),
        ({"taps": "many"}, "'many' taps"),
        ({"dtypes": ("x",)}, "unknown precision 'x'"),
    ],
)
def test_demands_that_make_no_sense_are_refused(demands, said):
    with pytest.raises(InputError, match=said):
        demanding(**{"required": (), **demands})  # type: ignore[arg-type]


def test_more_taps_than_there_are_are_not_there():
    found = judged(Port(), "float64", taps=95)["taps"]
    assert (found.status, found.message) == (
        "disagreed",
        "there are 94 taps, demanded are 95, more than the network has",
    )


def test_the_second_size_has_odd_maps_where_the_network_takes_them():
    for name in ("se-resnet-50", "senet-154", "se-resnet-50-torchvision", "se-resnet-110-cifar-10", "tiny-se-resnet"):
        height, width = cases.oblong(cases.find(name))
        assert (height > width, height % 4, width % 4) == (True, 1, 1)
    assert cases.oblong(MODELS["vgg-16"]) == (224, 224)


def test_both_sizes_are_compared():
    def taps(model: Any, x: np.ndarray) -> dict[str, np.ndarray]:
        found = right.taps(model, x)
        return found if x.shape[2] == 67 else found | {"stage2.0": found["stage2.0"] * 1.01}

    both: Question = Forward(X, (cases.image(75, 2, 64, 48),))
    ((_, found),) = verdicts(Port(taps=taps), NETWORK, PARAMS, [both], "float64")  # type: ignore[arg-type]
    assert (found.status, found.first_divergent) == ("disagreed", "stage2.0")


OUTPUTS, GRADIENTS = SIZES[:1], SIZES[1:2]


@pytest.mark.parametrize("lacks", [(), ("stem.conv1",), ("stem.conv1", "logits")], ids=["all", "most", "many"])
def test_what_is_shown_for_some_images_only_is_not_right_for_the_others(lacks):
    def taps(model: Any, x: np.ndarray) -> dict[str, np.ndarray]:
        found = right.taps(model, x)
        return found if x.shape[2] == 67 else {name: found[name] for name in lacks}

    found = judged(Port(taps=taps), "float64", OUTPUTS)["taps"]
    assert found.status == "disagreed"
    assert "is there for some inputs only, not for (1, 3, 48, 64)" in found.message


def test_a_port_that_is_right_for_high_images_alone_is_caught():
    # The squeeze takes no more columns than there are rows.
    def taps(model: Any, x: np.ndarray) -> dict[str, np.ndarray]:
        found = right.taps(model, x)
        return found if x.shape[3] <= x.shape[2] else found | {"pool": found["stage4.0"][..., :1].mean((2, 3))}

    assert judged(Port(taps=taps), "float64", OUTPUTS)["taps"].first_divergent == "pool"


@pytest.mark.parametrize(
    "wrong",
    [lambda x: len(x) == 1, lambda x: x.shape[3] > x.shape[2], lambda x: x.shape[3] < x.shape[2]],
    ids=["single", "wide", "high"],
)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_gradients_that_are_wrong_for_some_shapes_are_caught(wrong, dtype):
    def gradients(model: Any, x: np.ndarray, cotangent: np.ndarray, training: bool = False) -> dict[str, np.ndarray]:
        found = right.gradients(model, x, cotangent, training)
        return found | {"data": found["data"] * (2 if wrong(x) else 1)}

    assert judged(Port(gradients=gradients), dtype, GRADIENTS)["gradients"].first_divergent == "data"


def test_gradients_that_add_up_from_call_to_call_are_caught():
    so_far: dict[str, np.ndarray] = {}

    def gradients(model: Any, x: np.ndarray, cotangent: np.ndarray, training: bool = False) -> dict[str, np.ndarray]:
        for name, gradient in right.gradients(model, x, cotangent, training).items():
            so_far[name] = gradient if name == "data" else gradient + so_far.get(name, 0)
        return dict(so_far)

    assert judged(Port(gradients=gradients), "float64", GRADIENTS)["gradients"].status == "disagreed"


def test_taps_of_another_shape_are_said_and_decide_nothing():
    def gradients(model: Any, x: np.ndarray, cotangent: np.ndarray, training: bool = False) -> dict[str, np.ndarray]:
        found = right.gradients(model, x, cotangent, training)
        return found | {"stem.relu1": found["stem.relu1"][:, :, 1:]}

    found = judged(Port(gradients=gradients), "float32", GRADIENTS)["gradients"]
    assert found.status == "disagreed"
    assert "in the pass of the gradients stem.relu1 has shape (2, 8, 31, 24), expected (2, 8, 32, 24)" in found.message


def test_gradients_through_relus_that_are_off_are_not_excused_by_what_lies_before_them():
    # Only what lies behind ReLUs is shown, and a little more than 0 where they let nothing through.
    def gradients(model: Any, x: np.ndarray, cotangent: np.ndarray, training: bool = False) -> dict[str, np.ndarray]:
        values = forward.run(NETWORK, model.params, x, training=training)
        off = [name for name, node in NETWORK.by_name.items() if node.op == Act("relu") and ".se." not in name]
        shown = {name: np.maximum(values[name], np.float32(1e-9)) for name in (*off, "stem.pool")}
        decided = {name: values[node.inputs[0]] for name, node in NETWORK.by_name.items() if decides(node)}
        decided |= {name: np.ones_like(values[name]) for name in off}
        return shown | backward.gradients(
            NETWORK, model.params, x, cotangent, training=training, values=values, decided=decided
        )

    found = judged(Port(gradients=gradients), "float32", GRADIENTS)["gradients"]
    assert max(found.errors.values()) < 1e-4
    assert (found.status, found.first_divergent) == ("disagreed", "stem.relu1")


@pytest.mark.parametrize(
    "shown",
    [lambda name: name == "logits", lambda name: ".bn" in name or name == "logits", lambda name: name.count(".") == 1],
    ids=["logits", "batch norms", "units"],
)
def test_an_eps_of_another_size_is_seen_in_float32_in_few_taps_too(shown):
    def taps(_model: Any, x: np.ndarray) -> dict[str, np.ndarray]:
        found = right.taps(right.build(replace(SPEC, eps=1.1e-5), PARAMS, "float32"), x)
        return {name: tap for name, tap in found.items() if shown(name) or name == "logits"}

    assert judged(Port(taps=taps), "float32", OUTPUTS)["taps"].status in ("suspicious", "disagreed")


@pytest.mark.parametrize(
    "train",
    [
        lambda model, batches, recipe: right.train(model, batches, replace(recipe, momentum=0)),
        lambda model, batches, recipe: right.train(model, batches, replace(recipe, weight_decay=0)),
        lambda model, batches, _recipe: right.train(model, batches, cases.RECIPE),
        lambda model, batches, recipe: right.train(model, batches[:1], recipe),
        lambda model, batches, recipe: right.train(model, batches[::-1], recipe),
    ],
    ids=["momentum", "weight decay", "recipe", "one step", "order"],
)
def test_an_optimizer_that_is_wrong_is_caught_in_float32(train):
    found = judged(Port(train=train), "float32", tuple(q for q in QUESTIONS if q.what in ("statistics", "momentum")))
    assert "disagreed" in {verdict.status for verdict in found.values()}


def test_a_tensor_that_stays_where_it_was_is_caught_in_float32():
    def train(model: Any, batches: Any, recipe: Any) -> dict[str, np.ndarray]:
        return dict(right.train(model, batches, recipe)) | {"fc.bias": model.params["fc.bias"]}

    found = judged(Port(train=train), "float32", tuple(q for q in QUESTIONS if q.what == "momentum"))["momentum"]
    assert (found.status, found.first_divergent) == ("disagreed", "fc.bias")


def test_a_parameter_that_rounding_moves_elsewhere_is_no_mistake_in_float32():
    # As a ReLU of an SE block does that lets one image of four through or not.
    def train(model: Any, batches: Any, recipe: Any) -> dict[str, np.ndarray]:
        found = dict(right.train(model, batches, recipe))
        return found | {"stage1.0.se.fc1.bias": found["stage1.0.se.fc1.bias"] + np.float32(1e-3)}

    asked = tuple(q for q in QUESTIONS if q.what in ("statistics", "momentum"))
    assert {verdict.status for verdict in judged(Port(train=train), "float32", asked).values()} == {"agreed"}
    assert {verdict.status for verdict in judged(Port(train=train), "float64", asked).values()} == {"disagreed"}


def test_a_port_that_keeps_what_it_made_of_images_of_a_shape_is_caught():
    kept: dict[tuple[int, ...], dict[str, np.ndarray]] = {}

    def taps(model: Any, x: np.ndarray) -> dict[str, np.ndarray]:
        return kept.setdefault(x.shape, right.taps(model, x))

    assert judged(Port(taps=taps), "float64", OUTPUTS)["taps"].status == "disagreed"


def test_what_photographs_are_classified_by_is_judged():
    def logits(model: Any, x: np.ndarray) -> np.ndarray:
        return right.taps(model, x)["logits"][:, ::-1]

    assert judged(Port(logits=logits), "float64", OUTPUTS)["taps"].first_divergent == "logits"
