"""The readers of public formats, on small files of the very form, good and broken."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from examples.data import aliccp, aliexpress, kuairand, movielens
from examples.data.readers import READERS, describe, open_world
from examples.data.tables import DataError, history, share_of, split_by_time
from examples.data.vocabulary import Counts, Vocabulary, load, save
from examples.zoo.features import FrontEnd, check

# --- small datasets -------------------------------------------------------------------------


def write(path: Path, lines: list[str], encoding: str = "utf-8") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(("\n".join(lines) + "\n").encode(encoding))


def movies(folder: Path) -> Path:
    films = [
        f"{i}::Film {i} ({1980 + i})::{'Comedy|Drama' if i % 2 else 'Action'}" for i in range(1, 9)
    ]
    films.append("9::Ça arrive près de chez vous::Comedy|Crime")  # Latin-1, no year
    people = [
        f"{u}::{'FM'[u % 2]}::{(1, 18, 25)[u % 3]}::{u % 4}::{u}4110-1234" for u in range(1, 7)
    ]
    rng = np.random.default_rng(1)
    ratings = [
        f"{1 + i % 6}::{1 + rng.integers(9)}::{1 + rng.integers(5)}::{978300000 + 60 * i}"
        for i in range(200)
    ]
    write(folder / "ratings.dat", ratings, "latin-1")
    write(folder / "users.dat", people, "latin-1")
    write(folder / "movies.dat", films, "latin-1")
    return folder


LOG = (
    "user_id,video_id,date,hourmin,time_ms,is_click,is_like,is_follow,is_comment,is_forward,is_hate,long_view,"
    "play_time_ms,duration_ms,profile_stay_time,comment_stay_time,is_profile_enter,is_rand,tab"
)


def videos(folder: Path) -> Path:
    rng = np.random.default_rng(2)

    def log(start: int, rows: int) -> list[str]:
        out = [LOG]
        for i in range(rows):
            click = rng.integers(2)
            cells = [
                rng.integers(5),
                rng.integers(1, 8),
                20220408,
                1000 + i % 60,
                start + 1000 * i,
                click,
                click * rng.integers(2),
            ]
            cells += [0, 0, 0, 0, rng.integers(2), 1500 * i, 20000, 0, 0, 0, 0, 1]
            out.append(",".join(map(str, cells)))
        return out

    write(folder / "log_standard_4_08_to_4_21_pure.csv", log(1649400000000, 120))
    write(folder / "log_standard_4_22_to_5_08_pure.csv", log(1650600000000, 80))
    write(folder / "log_random_4_22_to_5_08_pure.csv", log(1650650000000, 40))
    names = [
        "user_id",
        "user_active_degree",
        "is_lowactive_period",
        "is_live_streamer",
        "is_video_author",
    ]
    for name in ("follow_user_num", "fans_user_num", "friend_user_num", "register_days"):
        names += [name, f"{name}_range".replace("days_range", "days_range")]
    names += [f"onehot_feat{i}" for i in range(18)]
    users = [",".join(names)]
    for u in range(5):
        numbers = [cell for n in (3 * u, 10 * u, u, 400) for cell in (str(n), '"(0,10]"')]
        onehot = [str((u + i) % 3) if i != 4 else "" for i in range(18)]
        users.append(",".join([str(u), "full_active", "0", "0", "1", *numbers, *onehot]))
    write(folder / "user_features_pure.csv", users)
    clips = [
        "video_id,author_id,video_type,upload_dt,upload_type,visible_status,video_duration,server_width,server_height,music_id,music_type,tag"
    ]
    for v in range(1, 7):  # video 7 has no features
        clips.append(
            f'{v},{v % 3},NORMAL,2020-07-08,ShortImport,1,{"" if v == 2 else 17200.0},720,1280,{98 + v},4,"{v},{v % 3}"'
        )
    write(folder / "video_features_basic_pure.csv", clips)
    return folder


def searches(folder: Path, seed: int = 3) -> Path:
    rng = np.random.default_rng(seed)
    names = [
        "search_id",
        *(f"categorical_{i}" for i in range(1, 17)),
        *(f"numerical_{i}" for i in range(1, 64)),
    ]
    for part, rows in (("train.csv", 300), ("test.csv", 60)):
        lines = [",".join([*names, "click", "conversion"])]
        for i in range(rows):
            click = rng.integers(2)
            cells = [100 + i // 10, *rng.integers(0, 6, 16), *np.round(rng.standard_normal(63), 3)]
            lines.append(",".join(map(str, [*cells, click, click * rng.integers(2)])))
        write(folder / part, lines)
    return folder


def feature(name: str, identity: int, value: float = 1.0) -> str:
    return f"{name}\x02{identity}\x03{value}"


def impressions(folder: Path) -> Path:
    rng = np.random.default_rng(4)
    for part, users, first in (("train", 40, 0), ("test", 10, 1000)):
        common, skeleton = [], []
        for u in range(users):
            index = f"{first + u:032x}"
            found = [feature("101", 5000 + first + u)] + [
                feature(f, 10 * int(f) + u % 2) for f in ("121", "122", "129")
            ]
            found += [
                feature("109_14", 900 + int(i), 0.5 * int(i)) for i in rng.integers(0, 6, u % 5)
            ]
            common.append(f"{index},{len(found)}," + "\x01".join(found))
            for i in range(8):
                click = int(rng.integers(2))
                found = [
                    feature("205", 70 + int(rng.integers(9))),
                    feature("301", 9),
                    feature("508", 3, 2.5),
                ]
                found += [feature("210", 800 + int(j)) for j in rng.integers(0, 4, i % 3)] + [
                    feature("999", 1)
                ]
                cells = [
                    str(8 * u + i),
                    str(click),
                    str(click * int(rng.integers(2))),
                    index,
                    str(len(found)),
                ]
                skeleton.append(",".join([*cells, "\x01".join(found)]))
        skeleton[3] = re.sub(r"^(\d+),\d,\d", r"\1,0,1", skeleton[3])  # a purchase without a click
        write(folder / f"common_features_{part}.csv", common)
        write(folder / f"sample_skeleton_{part}.csv", skeleton)
    return folder


MADE = {
    "movielens-1m": movies,
    "kuairand-pure": videos,
    "aliexpress": searches,
    "ali-ccp": impressions,
}


@pytest.fixture(params=sorted(MADE))
def read(request, tmp_path):
    """(name, folder with the files, World)"""
    folder = MADE[request.param](tmp_path / request.param)
    return request.param, folder, open_world(request.param, folder)


# --- what all have in common -----------------------------------------------------------------


def test_every_format_has_a_test() -> None:
    assert set(MADE) == set(READERS)


def test_a_world_that_rankers_can_read(read) -> None:
    name, _, world = read
    assert world.name == name
    check(world.schema)
    torch.manual_seed(0)
    front = FrontEnd(world.schema, 4)
    front.fit(world.train.inputs)
    for split in (world.train, world.valid, world.test):
        assert len(split) > 0 and list(split.inputs) == [field.name for field in world.schema]
        x = front(*split.inputs.values())  # ids outside their tables would raise
        assert x.shape == (len(split), front.out) and x.isfinite().all()
        assert split.labels.shape == (len(split), len(world.tasks))
        assert split.truth is None
        groups = split.groups
        assert len(torch.unique_consecutive(groups)) == len(torch.unique(groups)), "groups are torn"
    assert describe(world).splitlines()[0] == name


def test_reading_twice_gives_the_same(read) -> None:
    name, folder, world = read
    again = open_world(name, folder)
    for part in ("train", "valid", "test"):
        a, b = getattr(world, part), getattr(again, part)
        assert torch.equal(a.labels, b.labels)
        assert all(torch.equal(a.inputs[n], b.inputs[n]) for n in a.inputs)
    assert world.vocabularies == again.vocabularies


def test_compressed_files_are_read_alike(read) -> None:
    name, folder, world = read
    for path in list(folder.iterdir()):
        with gzip.open(f"{path}.gz", "wb") as out:
            out.write(path.read_bytes())
        path.unlink()
    again = open_world(name, folder)
    assert all(
        torch.equal(world.train.inputs[n], again.train.inputs[n]) for n in world.train.inputs
    )


def test_every_missing_file_is_named(read) -> None:
    name, folder, _ = read
    for path in sorted(folder.iterdir()):
        if name == "kuairand-pure" and "random" in path.name:
            continue
        hidden = path.rename(path.with_suffix(".away"))
        with pytest.raises(DataError, match=f"no file {re.escape(path.name)} "):
            open_world(name, folder)
        hidden.rename(path)


def test_every_file_that_is_cut_or_garbled_is_an_error_of_one_line(read) -> None:
    """Never another exception, never more than a line, always with the file's name."""
    name, folder, _ = read
    rng = np.random.default_rng(5)
    seen = 0
    for path in sorted(folder.iterdir()):
        data = path.read_bytes()
        for trial in range(12):
            if trial == 0:
                broken = b""
            elif trial < 6:
                broken = data[: rng.integers(1, len(data))]
            else:
                place = int(rng.integers(len(data) - 1))
                broken = (
                    data[:place]
                    + bytes(rng.choice([0, 44, 58, 34, 120, 200, 10], 2).astype(np.uint8))
                    + data[place + 1 :]
                )
            path.write_bytes(broken)
            try:
                open_world(name, folder)
            except DataError as error:
                assert "\n" not in str(error) and ".csv" in str(error) or ".dat" in str(error)
                seen += 1
        path.write_bytes(data)
    assert seen > 10


def test_vocabularies_survive_being_saved(read, tmp_path) -> None:
    _, _, world = read
    for suffix in (".json", ".npz"):
        path = tmp_path / f"vocabularies{suffix}"
        save(world.vocabularies, path)
        assert load(path) == world.vocabularies


# --- each for itself -------------------------------------------------------------------------


def place(folder: Path, file: str, line: int, old: str, new: str) -> None:
    """Replaces text in one line (from 1)."""
    path = folder / file
    lines = path.read_bytes().split(b"\n")
    changed = lines[line - 1].replace(old.encode("latin-1"), new.encode("latin-1"), 1)
    assert changed != lines[line - 1]
    lines[line - 1] = changed
    path.write_bytes(b"\n".join(lines))


def replaced(folder: Path, file: str, line: int, text: str) -> None:
    path = folder / file
    lines = path.read_bytes().split(b"\n")
    lines[line - 1] = text.encode("latin-1")
    path.write_bytes(b"\n".join(lines))


def test_movielens_values(tmp_path) -> None:
    folder = movies(tmp_path)
    world = movielens.read(
        folder, tasks=("at_least_3", "at_least_4", "rating", "stars"), at_least=1, length=3
    )
    rows = [
        tuple(map(int, line.split("::")))
        for line in (folder / "ratings.dat").read_text().splitlines()
    ]
    train = rows[:160]
    assert len(world.train) == 160 and len(world.valid) == 20 and len(world.test) == 20
    films, people = world.vocabularies["item"], world.vocabularies["user"]
    expected = sorted(train, key=lambda row: row[0])  # users together, in order of time
    assert films.values[world.train.inputs["item"] - 1].tolist() == [row[1] for row in expected]
    assert people.values[world.train.inputs["user"] - 1].tolist() == [row[0] for row in expected]
    stars = torch.tensor([row[2] for row in expected])
    want = torch.stack([stars >= 3, stars >= 4, stars, stars - 1], 1).float()
    assert torch.equal(world.train.labels, want)
    for number, (user, _, _, time) in enumerate(expected):
        liked = [r[1] for r in rows if r[0] == user and r[3] < time and r[2] >= 4][-3:]
        found = world.train.inputs["liked"][number]
        assert [films.values[i - 1] for i in found.tolist() if i] == liked
    years = world.train.inputs["year"][:, 0]
    known = torch.tensor([1980.0 + row[1] for row in expected if row[1] != 9])
    want = torch.tensor([1980.0 + row[1] if row[1] != 9 else known.mean() for row in expected])
    assert torch.allclose(years, want)
    assert set(world.vocabularies["genres"].values) == {"Comedy", "Drama", "Action", "Crime"}


def test_unknown_ids_get_row_0(tmp_path) -> None:
    folder = movies(tmp_path)
    lines = (folder / "ratings.dat").read_text().splitlines()
    lines[-1] = "6::9::5::978312000"
    lines = [line for line in lines[:-1] if "::9::" not in line] + lines[-1:]
    write(folder / "ratings.dat", lines)
    world = movielens.read(folder, at_least=1)
    assert world.vocabularies["item"].size == 9  # eight films and "unknown"
    assert (world.test.inputs["item"] == 0).sum() == 1


@pytest.mark.parametrize(
    ("file", "line", "text", "message"),
    [
        (
            "ratings.dat",
            7,
            "1::2::6::978",
            r"ratings.dat: line 7, column Rating: expected a whole number from 1 to 5, found '6'",
        ),
        (
            "ratings.dat",
            3,
            "1,2,3,4",
            r"ratings.dat: line 3: expected 4 cells separated by '::', found 1",
        ),
        (
            "ratings.dat",
            9,
            "77::2::5::978",
            r"ratings.dat: line 9, column UserID: 77 is not in users.dat",
        ),
        (
            "ratings.dat",
            9,
            "1::88::5::978",
            r"ratings.dat: line 9, column MovieID: 88 is not in movies.dat",
        ),
        (
            "ratings.dat",
            9,
            "1::8::5::99999999999999999999",
            r"line 9, column Timestamp: expected a whole number",
        ),
        (
            "users.dat",
            2,
            "2::X::1::1::12",
            r"users.dat: line 2, column Gender: expected F or M, found 'X'",
        ),
        ("users.dat", 2, "1::F::1::1::12", r"users.dat: line 2, column UserID: 1 again"),
        (
            "movies.dat",
            4,
            "x::A (1999)::Drama",
            r"movies.dat: line 4, column MovieID: expected a whole number from 1",
        ),
    ],
)
def test_movielens_errors(tmp_path, file, line, text, message) -> None:
    folder = movies(tmp_path)
    replaced(folder, file, line, text)
    with pytest.raises(DataError, match=message):
        movielens.read(folder)


def test_movielens_tasks_that_do_not_fit(tmp_path) -> None:
    with pytest.raises(ValueError, match="no task 'clicks'; there are at_least_3"):
        movielens.read(tmp_path, tasks=("clicks",))
    with pytest.raises(ValueError, match="task at_least_4 needs at_least_3"):
        movielens.read(tmp_path, tasks=("at_least_4",))


def test_kuairand_values(tmp_path) -> None:
    folder = videos(tmp_path)
    world = kuairand.read(
        folder, tasks=("is_click", "play_time_ms"), random=True, at_least=1, length=4
    )
    assert len(world.train) + len(world.valid) + len(world.test) == 240
    assert [task.kind for task in world.tasks] == ["binary", "regression"]
    lines = [
        line.split(",")
        for name in (*kuairand.STANDARD, *kuairand.RANDOM)
        for line in (folder / name).read_text().splitlines()[1:]
    ]
    lines.sort(key=lambda cells: int(cells[4]))
    train = sorted(lines[:192], key=lambda cells: int(cells[0]))
    inputs, vocabulary = world.train.inputs, world.vocabularies["item"]
    assert vocabulary.values[inputs["item"] - 1].tolist() == [int(cells[1]) for cells in train]
    assert world.train.labels.tolist() == [[float(cells[5]), float(cells[12])] for cells in train]
    for number, cells in enumerate(train):
        past = [
            int(c[1])
            for c in lines
            if c[0] == cells[0] and int(c[4]) < int(cells[4]) and c[5] == "1"
        ][-4:]
        found = inputs["clicked"][number].tolist()
        assert [int(vocabulary.values[i - 1]) for i in found if i] == past
        video = int(cells[1])
        tags = [] if video == 7 else sorted([str(video), str(video % 3)])
        rows = [i for i in inputs["tags"][number].tolist() if i]
        assert sorted(world.vocabularies["tags"].values[i - 1] for i in rows) == tags
        want = np.log1p(0 if video in (2, 7) else 17200)
        assert inputs["numbers"][number, -1].item() == pytest.approx(want, rel=1e-6)
    assert (inputs["author_id"][inputs["item"] == vocabulary.rows(np.array([7]))[0]] == 0).all()
    assert any("rows of videos without features" in note for note in world.notes)


@pytest.mark.parametrize(
    ("file", "line", "old", "new", "message"),
    [
        (kuairand.STANDARD[0], 1, "is_like", "liked", r"line 1: no column is_like"),
        (
            kuairand.STANDARD[1],
            5,
            ",20220408,",
            ",",
            r"4_22_to_5_08_pure.csv: line 5: expected 19 columns, found 18",
        ),
        (
            kuairand.STANDARD[1],
            6,
            ",1004,",
            ",tea,",
            r"line 6, column hourmin: expected a whole number, found 'tea'",
        ),
        (
            kuairand.STANDARD[1],
            6,
            ",0,0,0,0,",
            ",0,7,0,0,",
            r"line 6, column is_\w+: expected 0 or 1, found '7'",
        ),
        (
            "user_features_pure.csv",
            3,
            "1,full",
            "0,full",
            r"user_features_pure.csv: line 3, column user_id: 0 again",
        ),
        (
            "user_features_pure.csv",
            3,
            ",400,",
            ",many,",
            r"column register_days: expected a number, found 'many'",
        ),
        (
            "video_features_basic_pure.csv",
            2,
            "17200.0",
            "inf",
            r"column video_duration: expected a number, found 'inf'",
        ),
        (
            "video_features_basic_pure.csv",
            2,
            "NORMAL",
            "\xff",
            r"video_features_basic_pure.csv: line 2: no UTF-8 text",
        ),
    ],
)
def test_kuairand_errors(tmp_path, file, line, old, new, message) -> None:
    folder = videos(tmp_path)
    place(folder, file, line, old, new)
    with pytest.raises(DataError, match=message):
        kuairand.read(folder)


def test_aliexpress_values(tmp_path) -> None:
    folder = searches(tmp_path)
    world = aliexpress.read(folder, at_least=1, valid=0.2)
    assert len(world.train) + len(world.valid) == 300 and len(world.test) == 60
    assert 0.05 < len(world.valid) / 300 < 0.4
    assert not set(world.train.groups.tolist()) & set(world.valid.groups.tolist())
    table = np.genfromtxt(folder / "test.csv", delimiter=",", names=True)
    want = np.stack([table["click"], table["conversion"]], 1)
    assert np.array_equal(world.test.labels.numpy(), want.astype(np.float32))
    numbers = np.stack([table[f"numerical_{i}"] for i in range(1, 64)], 1)
    assert np.allclose(world.test.inputs["numerical"].numpy(), numbers, atol=1e-6)
    rows = world.test.inputs["categorical_7"]
    assert (
        world.vocabularies["categorical_7"].values[rows - 1].tolist()
        == table["categorical_7"].astype(int).tolist()
    )


def test_aliexpress_countries_become_regions(tmp_path) -> None:
    folders = {"NL": searches(tmp_path / "nl"), "ES": searches(tmp_path / "es", seed=9)}
    world = aliexpress.read(folders, dependent=("numerical_3", "numerical_10"))
    assert world.name == "aliexpress-nl-es"
    fields = {field.name: field for field in world.schema}
    assert fields["region"].role == "region" and fields["region"].size == 2
    assert fields["dependent"].role == "dependent" and fields["dependent"].width == 2
    assert fields["numerical"].width == 61
    assert set(world.test.inputs["region"].tolist()) == {0, 1}
    assert len(world.test.groups.unique()) == 12  # six searches each, though of one number
    part = aliexpress.read(folders, share=0.5)
    assert 0.2 < len(part.train) / len(world.train) < 0.8


@pytest.mark.parametrize(
    ("file", "line", "old", "new", "message"),
    [
        ("train.csv", 1, "conversion", "converted", r"train.csv: line 1: no column conversion"),
        ("train.csv", 1, "numerical", "dense", None),
        (
            "test.csv",
            1,
            "numerical_5,",
            "numerical_x,",
            r"test.csv: line 1: other columns than those",
        ),
        (
            "test.csv",
            4,
            "100,",
            "100.5,",
            r"line 4, column search_id: expected a whole number below 2\^53, found '100.5'",
        ),
    ],
)
def test_aliexpress_errors(tmp_path, file, line, old, new, message) -> None:
    folder = searches(tmp_path)
    place(folder, file, line, old, new)
    with pytest.raises(DataError, match=message or "other columns"):
        aliexpress.read(folder)


def test_aliexpress_conversions_need_a_click(tmp_path) -> None:
    folder = searches(tmp_path)
    lines = (folder / "train.csv").read_text().splitlines()
    lines[41] = ",".join(lines[41].split(",")[:-2] + ["0", "1"])
    write(folder / "train.csv", lines)
    with pytest.raises(DataError, match="train.csv: line 42: a conversion without a click"):
        aliexpress.read(folder)


def test_aliccp_values(tmp_path) -> None:
    folder = impressions(tmp_path)
    world = aliccp.read(folder, at_least=1, length=3, valid=0.25)
    assert len(world.train) + len(world.valid) == 319 and len(world.test) == 79
    assert world.notes == tuple(
        f"{part}: 1 impressions with a purchase but no click left out" for part in ("train", "test")
    )
    assert 0.05 < len(world.valid) / 319 < 0.5
    assert not set(world.train.groups.tolist()) & set(world.valid.groups.tolist())
    lines = [
        line.split(",") for line in (folder / "sample_skeleton_test.csv").read_text().splitlines()
    ]
    del lines[3]
    common = dict(
        line.split(",", 1)
        for line in (folder / "common_features_test.csv").read_text().splitlines()
    )

    def ids(text: str, name: str) -> list[int]:
        return [int(i) for i in re.findall(rf"(?:^|[,\x01]){name}\x02(\d+)\x03", text)]

    for number, cells in enumerate(lines):
        row = {name: values[number] for name, values in world.test.inputs.items()}
        assert world.test.labels[number].tolist() == [float(cells[1]), float(cells[2])]
        for text, name in ((cells[5], "205"), (common[cells[3]], "101"), (common[cells[3]], "129")):
            assert row[name].item() == world.vocabularies[name].rows(np.array(ids(text, name)))[0]
        assert row["124"].item() == 0  # missing
        for text, name in ((cells[5], "210"), (common[cells[3]], "109_14")):
            known = world.vocabularies[name].rows(np.array(ids(text, name), np.int64))
            known = [i for i in known.tolist() if i][:3]
            assert row[name].tolist() == known + [0] * (3 - len(known))
        assert row["crossed"].tolist() == [2.5, 0, 0, 0]
    assert (world.test.inputs["101"] == 0).all()  # users that training did not show
    assert (world.test.inputs["205"] > 0).any()


def test_aliccp_share_keeps_whole_users(tmp_path) -> None:
    folder = impressions(tmp_path)
    world = aliccp.read(folder, share=0.5)
    counts = torch.cat([world.train.groups, world.valid.groups]).bincount()
    assert 8 < len(counts) < 32 and set(counts.tolist()) <= {7, 8}


@pytest.mark.parametrize(
    ("file", "line", "old", "new", "message"),
    [
        (
            "sample_skeleton_train.csv",
            5,
            ",",
            ";",
            r"sample_skeleton_train.csv: line 5: expected 6 columns, found 5",
        ),
        (
            "sample_skeleton_test.csv",
            2,
            "205\x02",
            "205:",
            r"line 2, column number of features|field",
        ),
        ("sample_skeleton_train.csv", 2, "205\x0270", "205\x02x70", None),
        (
            "sample_skeleton_train.csv",
            6,
            "\x01",
            "",
            r"line 6, column number of features: expected \d, as many as follow, found",
        ),
        (
            "common_features_train.csv",
            3,
            "\x03",
            "=",
            r"common_features_train.csv: line 3, feature 1: expected field\\x02id\\x03value",
        ),
        (
            "common_features_train.csv",
            3,
            "2",
            "1",
            r"common_features_train.csv: line 3: common feature index 0+1 again",
        ),
        (
            "common_features_test.csv",
            1,
            "3e8",
            "3e7",
            r"common feature index 0+3e8 is not in common_features_test.csv",
        ),
    ],
)
def test_aliccp_errors(tmp_path, file, line, old, new, message) -> None:
    folder = impressions(tmp_path)
    if old == "205\x0270":  # whichever item stands there
        lines = (folder / file).read_bytes().decode("latin-1").split("\n")
        old = re.search("205\x02\\d+", lines[line - 1])[0]
        new, message = (
            old.replace("\x02", "\x02x"),
            r"line 2, feature 1: expected field\\x02id\\x03value, found",
        )
    if old == "205\x02":
        lines = (folder / file).read_bytes().decode("latin-1").split("\n")
        old, new = re.search("205\x02\\d+\x03", lines[line - 1])[0], "205\x02-7\x03"
        message = r"line 2, feature 1: expected field\\x02id\\x03value, found"
    place(folder, file, line, old, new)
    with pytest.raises(DataError, match=message):
        aliccp.read(folder)


# --- parts -----------------------------------------------------------------------------------


def test_vocabularies_are_ordered_and_cut() -> None:
    counts = Counts().add(np.array([7, 3, 3, 9])).add(np.array([9, 5, 3]))
    assert counts.vocabulary().values.tolist() == [3, 9, 5, 7]
    assert counts.vocabulary(at_least=2).values.tolist() == [3, 9]
    small = counts.vocabulary(at_most=3)
    assert small.size == 4 and small.rows(np.array([9, 7, 3, 4])).tolist() == [2, 0, 1, 0]
    texts = Counts().add(np.array(["b", "a", "b"])).vocabulary()
    assert texts.rows(np.array(["a", "c", "b"])).tolist() == [2, 0, 1]
    assert Counts().vocabulary().size == 1
    assert Counts().vocabulary().rows(np.array([1, 2])).tolist() == [0, 0]
    with pytest.raises(ValueError, match="twice"):
        Vocabulary(np.array([1, 1]))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("v.json", b"{"),
        ("v.json", b"[1]"),
        ("v.json", b'{"version": 2, "fields": {}}'),
        ("v.json", b'{"version": 1}'),
        ("v.json", b'{"version": 1, "fields": {"a": [1, "x"]}}'),
        ("v.json", b'{"version": 1, "fields": {"a": [1.5]}}'),
        ("v.json", b'{"version": 1, "fields": {"a": [3, 3]}}'),
        ("v.json", b'{"version": 1, "fields": [1]}'),
        ("v.npz", b"PK nothing"),
        ("v.npz", b""),
    ],
)
def test_broken_vocabularies_are_errors(tmp_path, name, content) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=re.escape(name)):
        load(tmp_path / name)
    with pytest.raises(DataError, match="nowhere"):
        load(tmp_path / "nowhere.json")


def test_history_against_a_plain_loop() -> None:
    rng = np.random.default_rng(0)
    user, time, item = rng.integers(0, 7, 300), rng.integers(0, 90, 300), rng.integers(0, 20, 300)
    happened = rng.random(300) < 0.6
    found = history(user, time, happened, item, 5)
    for row in range(300):
        past = [
            (time[i], i)
            for i in range(300)
            if user[i] == user[row] and time[i] < time[row] and happened[i] and item[i] > 0
        ]
        want = [int(item[i]) for _, i in sorted(past)][-5:]
        assert found[row].tolist() == want + [0] * (5 - len(want))


def test_shares_and_times() -> None:
    ids = np.arange(20_000)
    shares = share_of(ids)
    assert abs((shares < 0.3).mean() - 0.3) < 0.02 and np.array_equal(
        shares[5:9], share_of(ids[5:9])
    )
    assert abs(np.corrcoef(shares, share_of(ids, salt=1))[0, 1]) < 0.03
    time = np.random.default_rng(1).integers(0, 1000, 100)
    a, b, c = split_by_time(time, 0.2, 0.1)
    assert (len(a), len(b), len(c)) == (70, 20, 10) and sorted([*a, *b, *c]) == list(range(100))
    assert time[a].max() <= time[b].min() and time[b].max() <= time[c].min()
    with pytest.raises(ValueError, match="together less than 1"):
        split_by_time(time, 0.5, 0.5)
