"""`advcam verify` of a run at a URL: what is damaged in the store is named and made again, and only that."""

import json

import numpy as np
import torch
from PIL import Image
from torch import nn

from advcam import Classifier
from advcam.cli.app import run


class Toy(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.ReLU())
        self.head = nn.Linear(4, 2)

    def forward(self, inputs):
        return self.head(self.features(inputs).mean(dim=(2, 3)))


def test_a_run_at_a_url_is_mended(s3, bucket, folder, tmp_path, monkeypatch, capsys):
    torch.manual_seed(0)
    classifier = Classifier.from_module(Toy(), class_names=["a", "b"], name="toy")
    monkeypatch.setattr("advcam.pipeline.localize.load_classifier", lambda *_, **__: classifier)
    rows = ["image,labels"]
    for number in range(4):
        noise = np.random.default_rng(number).integers(0, 256, (20, 24, 3), dtype=np.uint8)
        Image.fromarray(noise).save(tmp_path / f"{number}.png")
        rows.append(f"{number}.png,a")
    (tmp_path / "labels.csv").write_text("\n".join(rows) + "\n")
    pictures = [str(tmp_path), "--labels", str(tmp_path / "labels.csv"), "--out", str(folder)]
    assert run(["localize", *pictures, "--method", "cam", "--shard-pictures", "2", "--quiet"]) == 0

    def results():
        of_a_session = ("report.html", "summary.json", "metrics.json", "metrics.prom")
        found = {key: data for key, data in s3.objects(bucket).items() if "/log/" not in key}
        return {key: data for key, data in found.items() if not key.endswith(of_a_session)}

    before = results()
    shard = next(key for key in before if "/maps/part-00000002-" in key)
    s3.client().put_object(Bucket=bucket, Key=shard, Body=before[shard][:-9])
    s3.client().delete_object(Bucket=bucket, Key="runs/one/masks/0.png")
    for more, code in (["--dry-run"], 1), ([], 0):
        capsys.readouterr()
        assert run(["verify", str(folder), "--json", "--quiet", *more]) == code
        found = json.loads(capsys.readouterr().out)
        assert [damage["path"] for damage in found["damaged"]] == [shard.removeprefix("runs/one/"), "masks/0.png"]
    assert results() == before

    for name in "0123":  # as a folder does, the index tells the name
        s3.client().delete_object(Bucket=bucket, Key=f"runs/one/overlays/{name}.jpg")
    s3.client().delete_object(Bucket=bucket, Key=shard)
    (tmp_path / "3.png").rename(tmp_path / "3.away")
    damaged = results()
    for code in (1, 0):
        capsys.readouterr()
        assert run(["verify", str(folder), "--json", "--quiet"]) == code
        found = json.loads(capsys.readouterr().out)["damaged"]
        assert [damage["path"] for damage in found] == [
            shard.removeprefix("runs/one/"),
            *(f"overlays/{name}.jpg" for name in "01"),
        ]
        assert all("the first: 3.png" in damage["advice"] for damage in found) is (code == 1)
        if code == 1:
            assert results() == damaged
            (tmp_path / "3.away").rename(tmp_path / "3.png")
    assert results() == before
