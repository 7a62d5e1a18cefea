"""appliance.audit.place: which files, in which order."""

from __future__ import annotations

from pathlib import Path

from appliance.audit import place


def test_files_are_in_the_order_of_their_records_and_others_are_ignored(tmp_path: Path) -> None:
    directory = tmp_path / "gateway-0"
    directory.mkdir()
    for name in (
        "gateway-0.jsonl",
        "gateway-0.000000000020.jsonl",
        "gateway-0.000000000003.jsonl",
        "gateway-0.new",
        "gateway-1.000000000001.jsonl",
        "notes.txt",
    ):
        (directory / name).touch()
    assert [path.name for path in place.chain_files(tmp_path, "gateway-0")] == [
        "gateway-0.000000000003.jsonl",
        "gateway-0.000000000020.jsonl",
        "gateway-0.jsonl",
    ]
    assert place.writers(tmp_path) == ["gateway-0"]


def test_no_directory_means_no_writer(tmp_path: Path) -> None:
    assert place.writers(tmp_path / "absent") == []
