//! Seeds that failed once, each with a word on what it was. They are lived first in each test run.
//!
//! A seed is a world only as long as what is drawn from it stays the same: whoever changes a drawing
//! gives up what these seeds meant, and looks for others that meet the same by planting the bug again.

/// The seeds.
pub(super) const KEPT: &[(u64, &str)] = &[
    (
        7,
        "a deploy whose job CloudStack forgot left its VM, which nobody ever destroyed",
    ),
    (
        37,
        "a VM destroyed before its deploy was known held the tier of an account that may expunge",
    ),
    (
        73,
        "a VM was forgotten while its stack was deleted: the list and the answer by id lied together",
    ),
    (
        101,
        "a job that the list of jobs left out once was never asked for again, and all waited for it",
    ),
    (
        130,
        "an address taken for gone before it had its tag kept its VM from the one taken for it",
    ),
    (
        242,
        "a rule in a living stack's list was taken for one that a former stack had left behind",
    ),
    (
        257,
        "an address was forgotten while its stack was deleted, as the VM of 73 was",
    ),
    (290, "another one, in a list that was empty three times"),
    (
        464,
        "an address was left behind whose lease nobody recorded and whose job was forgotten",
    ),
    (
        887,
        "a VPC whose create was lost or forgotten was made twice, on one list that lacked it",
    ),
    (
        948,
        "a VPC was made twice: a late request made one, and an older list was believed",
    ),
    (
        1009,
        "an account lost its right to expunge over two empty answers, and left what held its tier",
    ),
    (
        1138,
        "an address was led to a VM that the same plan gave up",
    ),
    (
        3557,
        "a stack was told Ready while a machine had no public address",
    ),
    (
        6470,
        "a machine lived in two VMs: its former was taken for gone, and its successor was started",
    ),
];
