"""Leakage: test images that the training set knows already, by patient or byte for byte."""

from dataclasses import dataclass

from lowres_ssl.data.catalogue import Catalogue
from lowres_ssl.data.splits import Split


@dataclass(frozen=True)
class Leakage:
    """Counts of test images. `possible`: the same group on both sides need not be the same patient."""

    test_images: int
    share_group: int
    exact_duplicate: int
    groups_known: bool
    possible: bool
    by_patient: bool  # how the set was divided

    @property
    def leaks(self) -> bool:
        return bool(self.share_group or self.exact_duplicate)

    def sentence(self) -> str:
        """One line for the terminal."""
        if not self.groups_known:
            patients = "patients are not known"
        else:
            share = f" ({100 * self.share_group / self.test_images:.0f}%)" if self.share_group else ""
            patients = (
                f"{self.share_group} of {self.test_images} test images{share} "
                "share a patient, slide or source image with training"
            )
            if self.possible and self.share_group:
                patients += " (possible, not certain: the numbering may restart in the test folder)"
        return f"leakage: {patients}; {self.exact_duplicate} have an exact duplicate there"

    def doubts(self) -> list[str]:
        """What to say beside scores that it may flatter, and what to type against it; nothing where none was found."""
        mend = "; split=patient keeps each on one side" if self.share_group and not self.by_patient else ""
        return [f"{self.sentence()}{mend}"] if self.leaks else []


def compute_leakage(catalogue: Catalogue, split: Split) -> Leakage:
    """How many test images share a group (patient, slide, source image) or all bytes with a training image."""
    train = [catalogue.records[index] for index in split.train]
    test = [catalogue.records[index] for index in split.test]
    groups = {record.group for record in train} - {None}
    bytes_seen = {record.sha256 for record in train}
    return Leakage(
        test_images=len(test),
        share_group=sum(record.group in groups for record in test),
        exact_duplicate=sum(record.sha256 in bytes_seen for record in test),
        groups_known=any(record.group for record in catalogue.records),
        possible=catalogue.groups_may_restart and split.kind == "official",
        by_patient=split.kind == "patient",
    )
