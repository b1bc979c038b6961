"""hybrid.platform.situation"""

from plugins.modules import situation


def test_texts_and_matches_come_in_the_same_call(call, tmp_path):
    (tmp_path / "one").write_text("first\n")
    (tmp_path / "two").touch()
    known, unknown, pattern = str(tmp_path / "one"), str(tmp_path / "none"), f"{tmp_path}/*"
    told = call(situation, read=[known, unknown], match=[pattern])
    assert told["texts"] == {known: "first\n", unknown: ""}
    assert told["matches"][pattern][-2:] == [known, str(tmp_path / "two")]
    assert told["distribution"]
