"""Second photographs: planted ones are found, strangers are not joined, and the release's are known."""

import numpy as np
import pandas as pd
import pytest
from scipy import ndimage

from leukonb.cli import main
from leukonb.data import cohort, links, morphology, phantom, photographs, pixels, release
from leukonb.files import Refusal

REAL = ("UID_20_15_1_all", "UID_16_38_1_all"), ("UID_43_4_1_all", "UID_44_23_1_all")
REAL_STRANGERS = ("UID_H14_2_7_hem", "UID_H22_19_5_hem")


def again(image, turn, blur, light, trim, move):
    "Another photograph: turned, out of focus, in another light, cut out narrower, moved."
    inside = morphology.cell_mask(image)
    soft = [morphology.smooth_within(c.astype(float), inside, blur) for c in np.moveaxis(image, -1, 0)]
    kept = ndimage.binary_erosion(inside, iterations=trim).astype(float)
    moved = [
        ndimage.shift(ndimage.rotate(x, turn, reshape=False, order=1), move, order=1) for x in (*soft, kept)
    ]
    return np.uint8(np.clip(np.dstack(moved[:3]) * light, 3, 255) * (moved[3] > 0.5)[..., None])


def find(images, cells):
    views = photographs.view_cells(list(images).__getitem__, len(images))
    return links.find_links(views, cells.assign(path=cells.cell).reset_index(drop=True))


@pytest.mark.fault(
    group="data",
    fault="One cell photographed twice, under two subjects",
    injected="cells taken again in another focus, light, crop and turn, filed under another subject",
    promise="found by the pixels, and the two subjects are one person",
)
def test_planted_second_photographs_are_found_and_nothing_else():
    images, cells = phantom.sample_cohort(6, seed=11, size=216, cells=4)
    rng = np.random.default_rng(0)
    rows = np.flatnonzero(cells.subject == cells.subject[0])[:2].tolist() + [10, 15, 20]
    settings = [
        (rng.uniform(-5, 5), rng.uniform(0.3, 1.3), rng.uniform(0.8, 1.2), k % 4 + 1) for k in range(5)
    ]
    second = [again(images[row], *setting, rng.uniform(-6, 6, 2)) for row, setting in zip(rows, settings)]
    other = cells.subject[(cells.label == cells.label[0]) & (cells.subject != cells.subject[0])].iloc[0]
    copies = cells.iloc[rows].assign(cell=[f"again {row}" for row in rows], image=900)
    copies["subject"] = [other, other, *copies.subject[2:]]
    everyone = pd.concat([cells, copies], ignore_index=True)
    found = find([*images, *second], everyone).of("certain")
    assert sorted(zip(found.a, found.b)) == [(row, len(cells) + k) for k, row in enumerate(rows)]
    shown = everyone.cell.map(links.name_cells(everyone.cell, found))
    people = release.join_subjects(everyone.assign(cell=shown)[["cell", "subject"]])
    assert people[cells.subject[0]] == people[other] and len(set(people.values())) == 5


def test_strangers_are_not_called_one_cell():
    images, cells = phantom.sample_cohort(5, seed=1, size=216, cells=4)
    assert not len(find(images, cells).of("certain"))


def test_a_pair_of_two_classes_is_refused_and_its_label_named():
    images, cells = phantom.sample_cohort(5, seed=3, size=216, cells=4)
    wrong = "HEM" if cells.label[0] == "ALL" else "ALL"
    copy = cells.head(1).assign(cell="again", label=wrong, subject="X")
    twice = [*images, again(images[0], 1, 0.5, 1.1, 1, (1, 1))]
    found = find(twice, pd.concat([cells, copy], ignore_index=True))
    assert found.table.reason[0] == "of two classes" and not len(found.of("certain"))
    assert any("look at their labels" in line for line in links.list_lines(found))


def test_the_release_is_of_fewer_people_than_numbers():
    known = release.released_links()
    certain = known[known.verdict == "certain"]
    pairs = {frozenset(pair) for pair in zip(certain.file_a.str[:-4], certain.file_b.str[:-4])}
    named = """20_15_1 16_38_1, 43_4_1 44_23_1, 43_10_1 44_7_1, 17_28_1 20_32_1, 17_18_2 20_34_2, 17_28_4 20_32_3,
    1_7_1 15_25_2, 1_7_2 15_25_3, 1_4_1 17_30_2, 1_4_2 17_30_3"""
    for pair in named.split(","):
        assert frozenset(f"UID_{name}_all" for name in pair.split()) in pairs
    refused = known[known.verdict == "refused"]
    assert (
        (refused.file_a.str[:-4] == REAL_STRANGERS[0]) & (refused.file_b.str[:-4] == REAL_STRANGERS[1])
    ).any()
    turned = certain[certain.file_a.str.startswith("UID_H24_") & certain.file_b.str.startswith("UID_H14_")]
    assert len(turned) >= 25 and abs(turned.turn.abs().median() - 4.6) < 0.2 and turned.turn.abs().min() > 4
    whose = release.released_identities()
    numbers = release.released_table().query("fold in [0, 1]").subject.unique()
    assert len(numbers) == 42 and len({whose[number] for number in numbers}) == 35
    assert whose["21"] == whose["18"] == whose["16"] == "1" and whose["H7"] == whose["H6"]


def test_a_copy_of_one_subject_alone_knows_who_it_is():
    rows = pd.DataFrame([{"cell": "new", "subject": "44", "dataset": "C-NMC 2019"}])
    assert cohort.add_identities(rows).identity.tolist() == ["43"]
    assert cohort.add_identities(rows.assign(dataset="phantom")).identity.tolist() == ["44"]


def test_links_need_pixels_and_enough_cells(tmp_path, capsys):
    assert main(["audit", str(tmp_path), "--out", str(tmp_path / "links.csv")]) == 1
    assert "--pixels" in capsys.readouterr().err and not list(tmp_path.iterdir())
    few = pd.DataFrame({"cell": list("abc"), "path": list("abc")})
    with pytest.raises(Refusal, match="at least 20"):
        links.link_cohort(few, tmp_path)


def test_the_packages_links_are_what_the_released_images_give(request):
    folder = request.config.rootpath.parent / "shared" / "cnmc-real" / "training_data"
    files = {f.stem: f for f in folder.rglob("*.*")} if folder.exists() else {}
    pairs = [pair for pair in (*REAL, REAL_STRANGERS) if set(pair) <= set(files)]
    if not pairs:
        pytest.skip("the released images are not at hand")
    known = release.released_links().assign(a=lambda t: t.file_a.str[:-4], b=lambda t: t.file_b.str[:-4])
    for a, b in pairs:
        row = known[(known.a == a) & (known.b == b) | (known.a == b) & (known.b == a)].iloc[0]
        images = [pixels.decode_image(files[name].read_bytes(), 215) for name in (row.a, row.b)]
        views = photographs.view_cells(images.__getitem__, 2)
        seen = photographs.register_pairs(photographs.propose_pairs(views, views), views, views)
        assert seen.score[0] == pytest.approx(row.score, abs=0.05)
