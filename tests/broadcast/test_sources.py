"""Recipients from CSV files."""

from __future__ import annotations

import tracemalloc
from typing import TYPE_CHECKING

import pytest

from wxmp.broadcast import Recipient
from wxmp.broadcast.sources import from_csv
from wxmp.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

TEXT = "openid,姓名,金额\no1,张三,12.50\no2,李四,3\n"
ROWS = [
    Recipient("o1", {"openid": "o1", "姓名": "张三", "金额": "12.50"}),
    Recipient("o2", {"openid": "o2", "姓名": "李四", "金额": "3"}),
]


def write(path: Path, content: str | bytes) -> Path:
    file = path / "rows.csv"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return file


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030"])
@pytest.mark.parametrize("named", [False, True])
def test_encodings(tmp_path: Path, encoding: str, named: bool):
    """What spreadsheets write is read, with its encoding named or found out."""
    file = write(tmp_path, TEXT.encode(encoding))
    assert list(from_csv(file, encoding=encoding if named else None)) == ROWS


def test_read_twice(tmp_path: Path):
    """A dry run and the run after it use one object."""
    recipients = from_csv(str(write(tmp_path, TEXT)))
    assert list(recipients) == list(recipients) == ROWS


def test_a_long_text_is_told_by_its_beginning(tmp_path: Path):
    """A character that is cut in two at the end of what is looked at is no other encoding."""
    for shift in range(3):
        file = write(tmp_path, "openid,name" + "x" * shift + "\n" + "o1,张\n" * 60_000)
        assert next(iter(from_csv(file))).fields["name" + "x" * shift] == "张"


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_tables_as_they_are(tmp_path: Path, line_end: str):
    """Another column, blanks, quotes, lines within cells, empty lines, lines of commas."""
    lines = ["", ' id ,"say, what"', 'o1,"two', 'lines"', "", ",", ' o2 ,"a ""b"""']
    found = list(from_csv(write(tmp_path, line_end.join(lines)), column="id"))
    assert [recipient.openid for recipient in found] == ["o1", "o2"]
    assert found[0].fields["say, what"].split() == ["two", "lines"]
    assert found[1].fields["say, what"] == 'a "b"'


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        ("a,b\no1,x\n", 1, "'openid'"),
        ("openid,b,b\n", 1, "twice: b"),
        ("openid,b\no1,x\no2\n", 3, "1 cells"),
        ("openid,b\no1,x,y\n", 2, "3 cells"),
        ("openid,b\n\no1,x\n ,x\n", 4, "no openid"),
        ('openid,b\no1,"x\ny"\no2,"z\n\n', 4, "cannot be read"),
        ('openid,b\no1,"x" y\n', 2, "cannot be read"),
    ],
)
def test_errors_name_the_line(tmp_path: Path, text: str, line: int, what: str):
    """A row that cannot be used is an error with its line, and comes when the reading gets there."""
    with pytest.raises(ConfigError, match=what) as caught:
        list(from_csv(write(tmp_path, text)))
    assert f"rows.csv, line {line} " in str(caught.value)
    assert caught.value.field == "path"


def test_bytes_that_are_no_text(tmp_path: Path):
    """Bytes that the encoding does not have are an error."""
    with pytest.raises(ConfigError, match="cannot be read"):
        list(from_csv(write(tmp_path, TEXT.encode() + b"\xff\xff\xff"), encoding="utf-8"))


def test_empty_and_absent(tmp_path: Path):
    """An empty file and an absent one are errors; the absent one at once."""
    with pytest.raises(ConfigError, match="is empty"):
        list(from_csv(write(tmp_path, "\n\n")))
    with pytest.raises(ConfigError, match="not a file"):
        from_csv(tmp_path / "absent.csv")
    with pytest.raises(ConfigError, match="not a file"):
        from_csv(tmp_path)


@pytest.mark.alone
def test_memory(tmp_path: Path):
    """A row at a time: a file of 12 MB takes no more memory than a small one."""
    file = write(tmp_path, "openid,text\n" + ("o1," + "x" * 110 + "\n") * 100_000)
    tracemalloc.start()
    try:
        assert sum(1 for _ in from_csv(file)) == 100_000
        assert tracemalloc.get_traced_memory()[1] < 2 * 2**20
    finally:
        tracemalloc.stop()
