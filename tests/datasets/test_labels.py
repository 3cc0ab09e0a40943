"""Labels from folders, from tables, or from the classifier."""

import unicodedata
from pathlib import Path

import pytest

from advcam.datasets.labels import LabelledSamples, label_samples, read_label_table
from advcam.errors import LabelError
from advcam.types import Sample


@pytest.fixture
def table(tmp_path):
    def write(content):
        path = tmp_path / "labels.csv"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def samples(root, *ids):
    return [Sample(id_, root / id_) for id_ in ids]


def refusal(call, *arguments):
    with pytest.raises(LabelError) as caught:
        call(*arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


class TestTable:
    def test_labels(self, table):
        path = table('image,labels\n a.jpg , cat ; sofa;cat\n\nb.jpg,\n"c,d.jpg",dog;\n')
        assert read_label_table(path) == {"a.jpg": ("cat", "sofa"), "b.jpg": (), "c,d.jpg": ("dog",)}

    @pytest.mark.parametrize("prefix", [b"", b"\xef\xbb\xbf"])
    @pytest.mark.parametrize("newline", [b"\n", b"\r\n"])
    def test_byte_order_mark_and_line_ends(self, table, prefix, newline):
        rows = ["image,labels", "ä.jpg,Kätzchen"]
        path = table(prefix + newline.join(row.encode() for row in rows))
        assert read_label_table(path) == {"ä.jpg": ("Kätzchen",)}

    def test_other_columns_are_passed_over(self, table):
        assert read_label_table(table("split,labels,image\ntrain,cat,a.jpg\n")) == {"a.jpg": ("cat",)}

    def test_repeated_row(self, table):
        assert read_label_table(table("image,labels\na,x;y\na,y;x\n")) == {"a": ("x", "y")}

    def test_missing(self, tmp_path):
        path = tmp_path / "labels.csv"
        assert refusal(read_label_table, path) == (
            f'{path} does not exist; labels come from "folders", "predicted" or the path of a CSV file'
        )

    def test_folder(self, tmp_path):
        assert refusal(read_label_table, tmp_path) == (
            f"{tmp_path} cannot be read (Is a directory); name a readable CSV file"
        )

    @pytest.mark.parametrize("content", ["", "\n", b"\xef\xbb\xbf"])
    def test_empty(self, table, content):
        path = table(content)
        assert refusal(read_label_table, path) == (
            f"{path} is empty; it needs the header image,labels and a row a picture"
        )

    def test_missing_columns(self, table):
        path = table("file;class\na.jpg;cat\n")
        assert refusal(read_label_table, path) == (
            f"{path} needs the columns image,labels in its first line; it has file;class"
        )

    def test_undecodable(self, table):
        path = table(b"image,labels\na.jpg,cat\nb.jpg,K\xe4tzchen\n")
        assert refusal(read_label_table, path) == (f"{path}, line 3: not UTF-8 text; save the file as CSV in UTF-8")

    def test_contradiction(self, table):
        path = table("image,labels\na.jpg,cat\na.jpg,dog\n")
        assert refusal(read_label_table, path) == (
            f"{path}, line 3: a.jpg is listed before with other labels; keep one of the lines"
        )

    @pytest.mark.parametrize(("row", "count"), [("a.jpg", 1), ("a.jpg,cat,dog", 3)])
    def test_number_of_fields(self, table, row, count):
        path = table(f"image,labels\nb.jpg,dog\n{row}\n")
        assert refusal(read_label_table, path) == (
            f"{path}, line 3: {count} fields, but the header has 2; separate labels by ; and put names "
            "that hold a comma into quotes"
        )

    def test_row_without_a_picture(self, table):
        path = table("image,labels\n ,cat\n")
        assert refusal(read_label_table, path) == (
            f"{path}, line 2: names no picture; fill in the column image or remove the line"
        )

    def test_open_quote(self, table):
        path = table('image,labels\n"a.jpg,cat\nb.jpg,dog\n')
        assert refusal(read_label_table, path) == (
            f"{path}, line 3: not valid CSV (unexpected end of data); mend the quotes of the line"
        )


class TestSources:
    def test_folders(self, tmp_path):
        root = tmp_path / "pets"
        labelled = label_samples(samples(root, "x/cat/1.jpg", "2.jpg"), "folders")
        assert [s.labels for s in labelled.samples] == [("cat",), ("pets",)]
        assert labelled.unlabelled == labelled.warnings == ()

    def test_folder_by_a_relative_path(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        labelled = label_samples([Sample("1.jpg", Path("1.jpg"))], "folders")
        assert labelled.samples[0].labels == (tmp_path.name,)

    def test_no_folder(self):
        assert refusal(label_samples, [Sample("1.jpg", Path("/1.jpg"))], "folders") == (
            "/1.jpg lies in no folder that could be its label; give the labels as CSV"
        )

    def test_predicted(self, tmp_path):
        known = [Sample("1.jpg", tmp_path / "1.jpg", ("cat",))]
        expected = LabelledSamples((Sample("1.jpg", tmp_path / "1.jpg", None),))
        assert label_samples(known, "predicted") == expected


class TestMatching:
    IDS = ("a/cat.jpg", "b/cat.jpg", "b/dog.png")

    @pytest.mark.parametrize(
        "row", ["b/dog.png", "./b/dog.png", "{root}/b/dog.png", "data/b/dog.png", "dog.png", "dog"]
    )
    def test_ways_of_naming(self, table, tmp_path, monkeypatch, row):
        monkeypatch.chdir(tmp_path)
        path = table(f"image,labels\n{row.format(root=tmp_path / 'data')},x\n")
        labelled = label_samples(samples(Path("data"), *self.IDS), path)
        assert [(s.id, s.labels) for s in labelled.samples] == [("b/dog.png", ("x",))]
        assert [s.id for s in labelled.unlabelled] == ["a/cat.jpg", "b/cat.jpg"]
        assert labelled.warnings == ()

    def test_path_relative_to_the_table(self, table, tmp_path, monkeypatch):
        (tmp_path / "elsewhere").mkdir()
        monkeypatch.chdir(tmp_path / "elsewhere")
        labelled = label_samples(samples(tmp_path / "data", *self.IDS), table("image,labels\ndata/b/dog.png,x\n"))
        assert [s.id for s in labelled.samples] == ["b/dog.png"]

    def test_id_wins_over_file_name(self, table, tmp_path):
        both = samples(tmp_path, "a/cat.jpg", "cat.jpg")
        labelled = label_samples(both, str(table("image,labels\ncat.jpg,x\n")))
        assert [s.id for s in labelled.samples] == ["cat.jpg"]

    def test_empty_cell_is_no_class_and_not_unknown(self, table, tmp_path):
        labelled = label_samples(samples(tmp_path, *self.IDS), table("image,labels\ndog,\n"))
        assert [s.labels for s in labelled.samples] == [()]

    def test_accents_in_either_spelling(self, table, tmp_path):
        sample = samples(tmp_path, unicodedata.normalize("NFD", "café.jpg"))
        row = unicodedata.normalize("NFC", "café.jpg")
        assert len(label_samples(sample, table(f"image,labels\n{row},x\n")).samples) == 1

    @pytest.mark.parametrize("row", ["cat.jpg", "cat"])
    def test_ambiguous(self, table, tmp_path, row):
        path = table(f"image,labels\n{row},x\n")
        assert refusal(label_samples, samples(tmp_path, *self.IDS), path) == (
            f"{path}: {row} fits 2 pictures (a/cat.jpg, b/cat.jpg); write the path relative to the root, "
            "such as a/cat.jpg"
        )

    def test_two_rows_of_one_picture(self, table, tmp_path):
        path = table("image,labels\nb/dog.png,x\ndog.png,y\n")
        assert refusal(label_samples, samples(tmp_path, *self.IDS), path) == (
            f"{path}: two rows give b/dog.png different labels; keep one of them"
        )

    def test_rows_without_a_picture(self, table, tmp_path):
        rows = "".join(f"gone{number}.jpg,x\n" for number in range(7))
        path = table(f"image,labels\n{rows}dog,x\n")
        labelled = label_samples(samples(tmp_path, *self.IDS), path)
        assert labelled.warnings == (
            f"{path}: no picture for 7 rows: gone0.jpg, gone1.jpg, gone2.jpg, gone3.jpg, gone4.jpg, ..",
        )

    def test_one_row_without_a_picture(self, table, tmp_path):
        path = table("image,labels\ngone.jpg,x\n")
        labelled = label_samples(samples(tmp_path, *self.IDS), path)
        assert labelled.warnings == (f"{path}: no picture for 1 row: gone.jpg",)
        assert labelled.samples == ()
