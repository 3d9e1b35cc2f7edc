"""The list of mutants is up to date, and `make mutants` tells which survive."""

import pytest

import mutants


@pytest.mark.parametrize("mutant", mutants.MUTANTS, ids=lambda m: f"{m.file}: {m.old[:30]}")
def test_a_mutant_breaks_one_place_and_has_a_suite(mutant):
    mutant.of((mutants.ROOT / "keras_cnnfix" / mutant.file).read_text())
    assert (mutants.ROOT / mutant.suite.split()[0]).exists()


def test_what_is_not_found_once_or_stays_as_it_is_is_an_error():
    for text in ("", "a a", "b"):
        with pytest.raises(ValueError, match=r"must hold once what is broken, not [02]x"):
            mutants.Mutant("file.py", "a", "b").of(text)
    with pytest.raises(ValueError, match="is not broken"):
        mutants.Mutant("file.py", "a", "a").of("a")


@pytest.mark.parametrize(
    ("answers", "code", "printed"),
    [
        ([True, False], False, "1 caught"),
        ([True, True], True, "1 SURVIVED"),
        ([False], "These fail before anything is broken: tests/ops/test_kernels.py.", ""),
    ],
    ids=["caught", "survived", "broken"],
)
def test_a_survivor_is_an_error(answers, code, printed, monkeypatch, capsys):
    seen = iter(answers)
    monkeypatch.setattr(mutants, "passes", lambda copy, suite, backend: next(seen))
    with pytest.raises(SystemExit) as stop:
        mutants.main(["--only", "(0.5, 0.5)"])
    assert stop.value.code == code
    assert printed in capsys.readouterr().out
    assert not list(seen)
