"""The SQNR benchmark: published rows to 0.02 dB, and a reduced run of all of it."""

import json
from itertools import pairwise

import numpy as np
import pytest

from benchmarks import sqnr as benchmark
from benchmarks._sqnr_formats import (
    BITS,
    FAMILY,
    INTEGER,
    MINIFLOAT,
    PLAIN,
    ROWS,
    TwosComplement,
    UnsignedMinifloat,
)
from benchmarks._sqnr_tables import POPULATIONS, Cell, Table, population_table, tensor_table
from benchmarks._sqnr_tensors import Tensor
from dybit.quant.formats import DyBit, Integer, Minifloat
from dybit.quant.sqnr import sqnr
from dybit.scripts.bench import entries

WIDTHS = (2, 3, 4, 5, 6, 8)
PUBLISHED = {
    "Gaussian": {
        INTEGER: [7.21, 13.29, 18.90, 24.33, 29.71, 40.54],
        MINIFLOAT: [7.21, 13.23, 18.97, 24.87, 30.81, 42.67],
        "posit es 1": [7.21, 9.72, 14.20, 19.66, 25.50, 37.48],
        "ANT adaptive": [8.26, 13.91, 19.26, 24.53, 29.82, 40.57],
        "ESB, best k": [9.25, 14.27, 19.38, 24.87, 30.81, 42.67],
        PLAIN: [7.21, 13.23, 18.25, 23.73, 29.52, 41.48],
        "limit": [9.30, 14.62, 20.22, 26.01, 31.91, 43.85],
    },
    "Laplace": {
        INTEGER: [5.78, 10.80, 15.62, 20.42, 25.26, 35.18],
        MINIFLOAT: [5.78, 11.51, 17.33, 22.99, 28.55, 39.45],
        "posit es 1": [5.78, 8.88, 14.07, 19.48, 25.27, 37.22],
        "ANT adaptive": [6.84, 11.51, 16.57, 22.01, 27.79, 35.21],
        "ESB, best k": [7.07, 11.51, 17.33, 22.99, 28.55, 39.45],
        PLAIN: [5.78, 11.51, 16.57, 22.01, 27.79, 39.70],
        "limit": [7.54, 12.64, 18.13, 23.87, 29.74, 41.67],
    },
    "Student-t(4)": {
        INTEGER: [5.04, 9.00, 12.48, 15.71, 18.83, 24.94],
        MINIFLOAT: [5.04, 9.74, 14.29, 19.29, 24.82, 34.91],
        "posit es 1": [5.04, 8.55, 13.55, 18.84, 24.55, 36.43],
        "ANT adaptive": [5.99, 9.74, 14.72, 19.89, 25.25, 24.95],
        "ESB, best k": [6.37, 9.74, 14.29, 19.29, 24.82, 34.91],
        PLAIN: [5.04, 9.74, 14.72, 19.89, 25.25, 36.34],
        "limit": [6.61, 10.88, 15.79, 21.15, 26.82, 38.58],
    },
    "half-normal, unsigned": {
        INTEGER: [13.29, 18.90, 24.33, 29.71, 35.11, 46.02],
        MINIFLOAT: [13.23, 18.97, 24.87, 30.81, 36.75, 48.57],
        "ANT adaptive": [13.29, 18.90, 24.33, 29.71, 35.48, 46.02],
        PLAIN: [13.23, 18.25, 23.73, 29.52, 35.48, 47.50],
        "limit": [14.62, 20.22, 26.01, 31.91, 37.87, 49.86],
    },
}
NF4 = {"Gaussian": 20.04, "Laplace": 17.76, "Student-t(4)": 14.31}


@pytest.fixture(scope="module")
def populations():
    return {name: population_table(name, BITS) for name in POPULATIONS}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_rows(populations, name):
    table = populations[name]
    for row, published in PUBLISHED[name].items():
        if row == "limit":
            found = [table.limit[bits] for bits in WIDTHS]
        else:
            found = [table.rows[row][bits].sqnr for bits in WIDTHS]
        np.testing.assert_allclose(found, published, rtol=0, atol=0.02, err_msg=row)
    if name in NF4:
        assert table.rows["NF"][4].sqnr == pytest.approx(NF4[name], abs=0.02)


@pytest.mark.parametrize("name", POPULATIONS)
def test_the_family_holds_plain_dybit_and_the_uniform_grid(populations, name):
    table = populations[name]
    for bits in BITS:
        family = table.rows[FAMILY][bits].sqnr
        assert family >= max(table.rows[row][bits].sqnr for row in (PLAIN, INTEGER)) - 1e-4
        assert all(c[bits].sqnr < table.limit[bits] for c in table.rows.values() if bits in c)
    for low, high in pairwise(BITS):
        assert table.limit[low] < table.limit[high]


def test_where_dybit_loses_the_table_says_so(populations):
    text = populations["Gaussian"].markdown()
    (beaten,) = [line for line in text.splitlines() if line.startswith("Beaten at: ")]
    assert beaten == (
        "Beaten at: 2 bits, ESB, best k by 2.04 dB; 3 bits, NF by 1.02 dB; 4 bits, NF by 1.08 dB."
    )
    assert "| NF | 8.35 | **14.32** | **20.04** |  |  |  |  |" in text
    assert "DyBit, best r: dybit2, dybit3r1, dybit4r2, " in text
    assert "Beaten at: no width." in populations["half-normal, unsigned"].markdown()


def test_ties_are_dybits():
    cells = {row: {4: Cell(10.0, row)} for row in ROWS}
    assert Table("x", cells, {4: 11.0}).winner(4) == PLAIN
    cells[PLAIN] = {4: Cell(9.0, "")}
    assert Table("x", cells, {4: 11.0}).winner(4) == FAMILY
    cells["NF"] = {4: Cell(10.01, "")}
    assert Table("x", cells, {4: 11.0}).winner(4) == "NF"


def test_tensors_have_one_scale_and_a_limit_of_their_own():
    seed = 71
    print(f"seed {seed}")
    x = np.random.default_rng(seed).laplace(size=(4, 40)).astype(np.float32)
    table = tensor_table(Tensor("x", x, axis=0), (2, 4, 8))
    assert table.rows[PLAIN][4].sqnr == pytest.approx(sqnr(x, DyBit(4)))
    assert table.rows[INTEGER][8].sqnr == pytest.approx(sqnr(x, Integer(8)))
    assert table.rows[FAMILY][4].sqnr == pytest.approx(
        max(sqnr(x, DyBit(4, True, r)) for r in (1, 2, 3)), abs=1e-3
    )
    assert table.rows[PLAIN][4].sqnr < table.limit[4] < table.limit[8] == np.inf
    assert table.markdown().count("| - |") == 1
    positive = tensor_table(Tensor("x", np.abs(x)), (4,))
    assert positive.rows[PLAIN][4].sqnr == pytest.approx(sqnr(np.abs(x), DyBit(4, False)))
    assert "NF" not in positive.rows


def test_formats_only_rivals_have():
    assert TwosComplement(3).values.tolist() == [-4, -3, -2, -1, 0, 1, 2, 3]
    assert TwosComplement(3).decode([3, 4, 7]).tolist() == [3, -4, -1]
    for e, m in ((2, 1), (2, 2), (1, 3), (3, 0)):
        signed = Minifloat(e, m)
        unsigned = UnsignedMinifloat(e, m).values * signed.unit
        np.testing.assert_array_equal(unsigned, signed.values[signed.values >= 0])


def test_a_reduced_run(tmp_path):
    results = benchmark.run(tmp_path / "a", bits=(2, 4), seeds=(0,), epochs=1)
    checked = entries("sqnr", results)
    by_name = {entry.name: entry for entry in checked}
    gaussian = by_name["Gaussian, 4 bits, plain DyBit"]
    assert gaussian.value == pytest.approx(18.25, abs=0.02)
    assert gaussian.rival == "Lloyd-Max limit, 20.22 dB"
    assert gaussian.ratio == pytest.approx(10 ** ((18.25 - 20.22) / 10), abs=0.005)
    assert by_name["conv2 input, 4 bits, DyBit, best r"].unit == "dB"
    # What is chosen from more is never worse, and a family holds its rivals.
    gains = {
        name: by_name[f"choice, 4 bits, {name} over plain DyBit"].value
        for name in ("all in software", "DyBit family", "array of run-time limits")
    }
    assert gains["all in software"] >= gains["DyBit family"] - 1e-3
    assert gains["DyBit family"] >= gains["array of run-time limits"] - 1e-3 >= -2e-3
    assert by_name["choice, 4 bits, array of plain DyBit over plain DyBit"].value == 0
    assert by_name["choice, 4 bits, DyBit family over INT"].value >= -1e-3
    wins = [e.value for e in checked if e.name.startswith("choice, 4 bits, DyBit family: ")]
    assert sum(wins) == 7
    lost = by_name["limit picked on a sample with a tail, most lost on test images"]
    assert 0 <= lost.value < 0.05

    text = (tmp_path / "a/sqnr.md").read_text()
    assert text.count("| Lloyd-Max limit | ") == len(POPULATIONS) + 7
    pictures = {name: (tmp_path / "a" / name).read_bytes() for name in PICTURES}
    for name, picture in pictures.items():
        assert picture.startswith(b"<?xml"), name
        assert picture.count(b"Lloyd-Max limit") >= 4
    again = benchmark.run(tmp_path / "b", bits=(2, 4), seeds=(0,), epochs=1)
    assert json.dumps(again) == json.dumps(results)
    assert {n: (tmp_path / "b" / n).read_bytes() for n in PICTURES} == pictures


PICTURES = ("sqnr-populations.svg", "sqnr-tensors.svg")
