"""KuaiRand-Pure: 27,000 users of a video app, 7,600 videos, twelve kinds of feedback.

    world = read("KuaiRand-Pure/data")

The folder holds (comma-separated, with a header line):

    log_standard_4_08_to_4_21_pure.csv, log_standard_4_22_to_5_08_pure.csv,
    log_random_4_22_to_5_08_pure.csv     user_id, video_id, date, hourmin, time_ms, is_click,
        is_like, is_follow, is_comment, is_forward, is_hate, long_view, play_time_ms, duration_ms,
        profile_stay_time, comment_stay_time, is_profile_enter, is_rand, tab
    user_features_pure.csv               user_id, user_active_degree, ..., onehot_feat0 .. 17
    video_features_basic_pure.csv        video_id, author_id, video_type, upload_dt, ..., tag

video_features_statistic_pure.csv is left out: its counts are of the whole month, so of the days to
be predicted as well.

Chongming Gao et al.: "KuaiRand: An Unbiased Sequential Recommendation Dataset with Randomly Exposed
Videos", CIKM 2022.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from examples.data import World
from examples.data.tables import (
    BIT,
    FLOAT,
    INT,
    TEXT,
    DataError,
    bags,
    by_id,
    chunks,
    find,
    header,
    history,
    split_by_time,
    split_of,
    whole,
)
from examples.data.vocabulary import Counts, Vocabulary
from examples.zoo.features import Bag, Dense, Id, Schema
from examples.zoo.features import Sequence as Behaviour
from examples.zoo.tasks import Task

Array = np.ndarray

STANDARD = ("log_standard_4_08_to_4_21_pure.csv", "log_standard_4_22_to_5_08_pure.csv")
RANDOM = ("log_random_4_22_to_5_08_pure.csv",)
FEEDBACK = (
    "is_click",
    "is_like",
    "is_follow",
    "is_comment",
    "is_forward",
    "is_hate",
    "long_view",
    "is_profile_enter",
)
USER_IDS = ("user_active_degree", "follow_user_num_range", "fans_user_num_range")
USER_IDS += ("friend_user_num_range", "register_days_range")
USER_NUMBERS = ("follow_user_num", "fans_user_num", "friend_user_num", "register_days")
ONEHOT = tuple(f"onehot_feat{i}" for i in range(18))
VIDEO_IDS = ("author_id", "music_id", "video_type", "upload_type")
TAGS = 4


def _logs(folder: str | Path, names: Sequence[str]) -> pd.DataFrame:
    kinds = {name: INT for name in ("user_id", "video_id", "hourmin", "time_ms", "tab")}
    kinds |= {name: BIT for name in FEEDBACK} | {"play_time_ms": FLOAT}
    parts = [frame for name in names for _, frame in chunks(find(folder, name), kinds)]
    if not parts:
        raise DataError(f"{folder}: no rows in {', '.join(names)}")
    return pd.concat(parts, ignore_index=True)


def _table(folder: str | Path, name: str, kinds: dict[str, str], key: str) -> pd.DataFrame:
    path = find(folder, name)
    header(path, list(kinds))
    return by_id(path, whole(path, kinds), key)


def read(
    folder: str | Path,
    tasks: Sequence[str] = ("is_click", "long_view", "is_like"),
    standard: bool = True,
    random: bool = False,
    length: int = 20,
    at_least: int = 5,
    valid: float = 0.1,
    test: float = 0.1,
) -> World:
    """The earliest rows to train, the next to validate, the latest to test. `tasks`: names out of
    FEEDBACK (binary), or "play_time_ms" (regression). The data have no strict order of the tasks: a
    like may come without a click, so none comes `after` another.

    Fields: user, item (the video), hour, tab, the users' and videos' ids (USER_IDS, ONEHOT,
    VIDEO_IDS), tags (bag), numbers (dense: log(1 + n) of USER_NUMBERS and of the video's duration,
    missing ones 0), clicked and liked (the user's last `length` videos of that kind before the
    row's time; they share the videos' table). Ids seen less than `at_least` times in training are
    unknown. Groups are users. Users and videos that the feature tables do not have are unknown in
    all their fields, and counted in `notes`.
    """
    for name in tasks:
        if name not in (*FEEDBACK, "play_time_ms"):
            raise ValueError(f"no task {name!r}; there are {', '.join(FEEDBACK)}, play_time_ms")
    log = _logs(folder, STANDARD * standard + RANDOM * random)
    kinds = {"user_id": INT} | dict.fromkeys(USER_IDS + ONEHOT, TEXT)
    users = _table(
        folder, "user_features_pure.csv", kinds | dict.fromkeys(USER_NUMBERS, FLOAT), "user_id"
    )
    kinds = {"video_id": INT} | dict.fromkeys((*VIDEO_IDS, "tag"), TEXT)
    videos = _table(
        folder, "video_features_basic_pure.csv", kinds | {"video_duration": FLOAT}, "video_id"
    )
    user, video, time = (log[n].to_numpy() for n in ("user_id", "video_id", "time_ms"))
    parts = split_by_time(time, valid, test)
    inputs, vocabularies = _encode(log, users, videos, parts[0], at_least)
    for name, feedback in (("clicked", "is_click"), ("liked", "is_like")):
        inputs[name] = history(user, time, log[feedback].to_numpy() > 0, inputs["item"], length)
    size = vocabularies["item"].size
    schema: Schema = (
        *(
            Id(name, vocabulary.size, role="item" if name == "item" else "")
            for name, vocabulary in vocabularies.items()
            if name != "tags"
        ),
        Bag("tags", vocabularies["tags"].size, TAGS),
        Dense("numbers", len(USER_NUMBERS) + 1, normalise=True),
        Behaviour("clicked", size, length, role="item"),
        Behaviour("liked", size, length, role="item"),
    )
    labels = log[list(tasks)].to_numpy(np.float32)
    made = tuple(Task(name, "regression" if name == "play_time_ms" else "binary") for name in tasks)
    splits = [
        split_of(schema, inputs, labels, user, part[np.argsort(user[part], kind="stable")])
        for part in parts
    ]
    notes = tuple(
        f"{missing} rows of {what} without features"
        for what, table, ids in (("users", users, user), ("videos", videos, video))
        if (missing := int((~np.isin(ids, table.index)).sum()))
    )
    return World("kuairand-pure", schema, made, *splits, vocabularies=vocabularies, notes=notes)


def _encode(
    log: pd.DataFrame, users: pd.DataFrame, videos: pd.DataFrame, train: Array, at_least: int
) -> tuple[dict[str, Array], dict[str, Vocabulary]]:
    """Everything but the histories: inputs by field, and vocabularies of the training rows."""
    inputs: dict[str, Array] = {}
    vocabularies: dict[str, Vocabulary] = {}

    def encode(name: str, column: pd.Series, frequent: int = 1) -> None:
        vocabularies[name] = Counts().add(column.iloc[train]).vocabulary(frequent)
        inputs[name] = vocabularies[name].rows(column)

    of_user = users.reindex(log["user_id"])
    of_video = videos.reindex(log["video_id"])
    encode("user", log["user_id"], at_least)
    encode("item", log["video_id"], at_least)
    encode("hour", log["hourmin"] // 100)
    encode("tab", log["tab"])
    for name in (*USER_IDS, *ONEHOT):
        encode(name, of_user[name])
    for name in VIDEO_IDS:
        encode(name, of_video[name], at_least)
    texts = of_video["tag"].fillna("").to_numpy()
    different, place = np.unique(texts.astype(str), return_inverse=True)
    split = [[tag for tag in text.split(",") if tag] for text in different]
    often = np.bincount(place[train], minlength=len(different))
    seen = pd.Series([tag for tags in split for tag in tags], dtype=str)
    times = np.repeat(often, [len(tags) for tags in split])
    total = pd.Series(times).groupby(seen.to_numpy()).sum()
    tags = Counts().add_counted(total.index.to_numpy(), total.to_numpy())
    vocabularies["tags"] = tags.vocabulary()
    rows = {tag: row for row, tag in enumerate(vocabularies["tags"].values.tolist(), start=1)}
    inputs["tags"] = bags([[rows.get(tag, 0) for tag in tags] for tags in split], TAGS)[place]
    numbers = of_user[list(USER_NUMBERS)].to_numpy(np.float64)
    numbers = np.column_stack([numbers, of_video["video_duration"].to_numpy(np.float64)])
    inputs["numbers"] = np.log1p(np.clip(np.nan_to_num(numbers), 0, None))
    return inputs, vocabularies
