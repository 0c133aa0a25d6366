"""The paper's tables: exact counts, and the rule by which the published figures follow from them."""

import pytest

from conformance.report.paper import NOTES, Row, tables

ROWS = {(row.table, row.choice): row for row in tables()}

# Counted by arithmetic, and in implementations of others where they have the network.
COUNTS = {
    ("reduction", "2"): (45_699_240, 45_676_584, 3_878_092_800),
    ("reduction", "4"): (35_635_688, 35_616_808, 3_868_033_024),
    ("reduction", "8"): (30_603_912, 30_586_920, 3_863_003_136),
    ("reduction", "16"): (28_088_024, 28_071_976, 3_860_488_192),
    ("reduction", "32"): (26_830_080, 26_814_504, 3_859_230_720),
    ("reduction", "no SE blocks"): (25_557_032, None, 3_857_973_248),
    ("squeeze", "maximum"): (28_088_024, 28_071_976, 3_860_488_192),
    ("squeeze", "none"): (28_088_024, 28_071_976, 4_269_015_040),
    ("gate", "tanh"): (28_088_024, 28_071_976, 3_860_488_192),
    ("gate", "relu"): (28_088_024, 28_071_976, 3_860_488_192),
    ("position", "pre"): (27_562_140, 27_548_200, 3_859_964_416),
    ("position", "post"): (28_088_024, 28_071_976, 3_860_488_192),
    ("position", "identity"): (28_088_024, 28_071_976, 3_860_488_192),
    ("position", "after the 3x3"): (25_718_228, 25_714_216, 3_858_130_432),
    ("stages", "2"): (25_582_424, 25_581_608, 3_857_997_824),
    ("stages", "3"): (25_690_280, 25_688_104, 3_858_104_320),
    ("stages", "4"): (26_349_992, 26_343_464, 3_858_759_680),
    ("baselines", "resnet-101"): (44_549_160, None, 7_570_194_432),
    ("baselines", "se-resnet-101"): (49_326_872, 49_292_328, 7_574_937_600),
    ("baselines", "resnet-152"): (60_192_808, None, 11_282_415_616),
    ("baselines", "se-resnet-152"): (66_821_848, 66_770_984, 11_288_993_792),
    ("baselines", "resnext-50"): (25_028_904, None, 4_230_479_872),
    ("baselines", "se-resnext-50"): (27_559_896, 27_543_848, 4_232_994_816),
    ("baselines", "resnext-101"): (44_177_704, None, 7_969_996_800),
    ("baselines", "se-resnext-101"): (48_955_416, 48_920_872, 7_974_739_968),
    ("baselines", "bn-inception"): (11_285_224, None, 2_032_600_064),
    ("baselines", "se-bn-inception"): (11_931_622, 11_924_584, 2_033_239_424),
}


@pytest.mark.parametrize("key", COUNTS, ids=" ".join)
def test_counts_are_exact(key: tuple[str, str]):
    row = ROWS[key]
    assert (row.learnable, row.without_biases, row.macs) == COUNTS[key]


@pytest.mark.parametrize("row", [row for row in ROWS.values() if row.published.params], ids=lambda row: row.choice)
def test_published_millions_are_the_counts_with_biases_rounded_up(row: Row):
    assert row.params_by_rule == row.published.params


@pytest.mark.parametrize("row", [row for row in ROWS.values() if row.published.gflops], ids=lambda row: row.choice)
def test_published_gflops_follow_from_the_rule_or_carry_a_note(row: Row):
    gflops = row.published.gflops
    assert gflops is not None
    above = gflops - (row.macs + row.scaled) / 1e9
    # 0.02, the most that the paper is above the count in any row, and half a unit of its last digit.
    assert row.gflops_by_rule == gflops or (5 in row.notes and 0 < above < 0.025)


def test_every_note_is_used_and_exists():
    assert {number for row in ROWS.values() for number in row.notes} == set(NOTES)
