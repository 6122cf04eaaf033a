"""The one check of names from outside."""

from __future__ import annotations

import pytest
from kolora.errors import InputAbsent, StoryInvalid
from kolora.names import checked_name, checked_names, fault_of_name, faults_of_names, path_below

from tests.names.evil import EVIL, EVIL_ON_WINDOWS, EVIL_SETS, EVIL_SETS_FOLDED, LEGAL, is_plain


def test_the_table_is_large_and_has_no_name_twice():
    assert len({*EVIL, *EVIL_ON_WINDOWS}) == len(EVIL) + len(EVIL_ON_WINDOWS) >= 90


@pytest.mark.parametrize("name", EVIL)
def test_an_evil_name_is_refused_with_its_source_and_a_spelling_that_can_be_printed(name):
    with pytest.raises(InputAbsent) as caught:
        checked_name(name, source="a/b on Hugging Face")
    assert caught.value.error.startswith("a/b on Hugging Face names a file '")
    assert caught.value.hint
    assert is_plain(caught.value.error)
    assert "\n" not in caught.value.error
    assert len(caught.value.error) < 400


@pytest.mark.parametrize("name", LEGAL)
def test_a_name_that_people_have_is_taken_as_it_is(name):
    assert checked_name(name, source="a hub") == name


@pytest.mark.parametrize("name", EVIL_ON_WINDOWS)
def test_what_windows_cannot_hold_is_refused_only_in_files_for_others(name):
    assert fault_of_name(name) is None
    assert fault_of_name(name, portable=True)


@pytest.mark.parametrize("names", EVIL_SETS.values(), ids=EVIL_SETS)
def test_names_that_cannot_lie_in_one_folder_are_found(names):
    assert list(faults_of_names(names, folded=False))
    with pytest.raises(StoryInvalid, match=r"twice|below a file"):
        checked_names(names, source="an archive", error=StoryInvalid)


@pytest.mark.parametrize("names", EVIL_SETS_FOLDED.values(), ids=EVIL_SETS_FOLDED)
def test_names_that_are_one_file_elsewhere_are_found_where_that_is_asked(names):
    assert list(faults_of_names(names))
    assert not list(faults_of_names(names, folded=False))


def test_legal_names_lie_in_one_folder_together():
    assert checked_names(LEGAL, source="a hub", folded=True) == LEGAL


@pytest.mark.parametrize("where", ["link", "a/link"])
def test_a_link_on_the_way_leads_nowhere(tmp_path, where):
    root = tmp_path / "root"
    (root / where).parent.mkdir(parents=True)
    (root / where).symlink_to(tmp_path)
    with pytest.raises(InputAbsent, match="link leads"):
        path_below(root, f"{where}/canary.txt", source="a record")
    assert path_below(root, "a/b/new.txt", source="a record") == root / "a/b/new.txt"
