import itertools

import pytest

from jaxrnn.data import begin_tags, ncbi_disease, read_conll, wikigold

NCBI = {"train": (5_432, 136_086, 5_145), "validation": (923, 23_969, 787), "test": (940, 24_497, 960)}
WIKIGOLD = {"train": (1_323, 30_599, 2_803), "validation": (153, 3_573, 343), "test": (220, 4_835, 412)}


def put(tmp_path, content):
    path = tmp_path / "some.conll"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@pytest.mark.parametrize("separator", ["\t", " "])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("last", ["", "\n", "\n\n \n"])
def test_lines_become_sentences(tmp_path, separator, end, last):
    lines = ["", "-DOCSTART- O", "", "Léa B-PER", "runs O", "", "\t", "Oslo B-LOC", "-DOCSTART- -X- O", "It O"]
    content = "\n".join(lines).replace(" ", separator) + last
    got = read_conll(put(tmp_path, content.replace("\n", end)))
    assert got.tokens == [["Léa", "runs"], ["Oslo"], ["It"]]
    assert got.tags == [["B-PER", "O"], ["B-LOC"], ["O"]]


def test_a_token_may_hold_what_is_no_separator(tmp_path):
    got = read_conll(put(tmp_path, "a\u00a0b O\n\u00a0 O\nNew York\tB-LOC\nx\u2028y\tO\n"))
    assert got.tokens == [["a\u00a0b", "\u00a0", "New York", "x\u2028y"]]


@pytest.mark.parametrize(
    ("content", "number", "line"),
    [
        ("a O\nb\n", 2, "'b'"),
        ("a\tO\n\nb\t\n", 3, r"'b\\t'"),
        ("\tO\n", 1, r"'\\tO'"),
        ("a NN O\n", 1, "'a NN O'"),
        ("a\tNN\tO", 1, r"'a\\tNN\\tO'"),
        ("a O\n\n\n b O\n", 4, "' b O'"),
    ],
)
def test_a_line_without_its_one_tag_is_named(tmp_path, content, number, line):
    path = put(tmp_path, content)
    with pytest.raises(
        ValueError, match=rf"read_conll: line {number} of {path} must be a token, .* its tag, got {line}\. Give"
    ):
        read_conll(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty, 0 bytes"),
        (b"\n \n-DOCSTART- O\n\n", r"holds no sentence\. Give a file"),
        (b"caf\xe9 O\n", "is not UTF-8"),
    ],
)
def test_files_without_sentences_are_refused(tmp_path, content, message):
    with pytest.raises(ValueError, match=rf"read_conll: .*some\.conll {message}"):
        read_conll(put(tmp_path, content))
    with pytest.raises(ValueError, match=r"read_conll: cannot read .*absent: No such file"):
        read_conll(tmp_path / "absent")


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ("", ""),
        ("O O", "O O"),
        ("I-A", "B-A"),
        ("I-A I-A O I-A", "B-A I-A O B-A"),
        ("I-A I-B I-B I-A", "B-A B-B I-B B-A"),
        ("B-A I-A B-A I-B", "B-A I-A B-A B-B"),
        ("I-A B-A I-A", "B-A B-A I-A"),
        ("I-AB I-B", "B-AB B-B"),
    ],
)
def test_tags_begin_their_entities(tags, expected):
    assert begin_tags(tags.split()) == expected.split() == begin_tags(expected.split())


def test_documents_of_wikigold_are_split_by_number(pinned):
    documents = [f"w{number} I-PER\nx{number} O\n\ny{number} I-LOC\n\n-DOCSTART- O\n\n" for number in range(13)]
    folder = pinned("wikigold/wikigold.conll.txt", "".join(documents).encode())
    for split, numbers in {"test": [0, 10], "validation": [1, 11], "train": [*range(2, 10), 12]}.items():
        got = wikigold(split, folder)
        assert got.tokens == [words for n in numbers for words in ([f"w{n}", f"x{n}"], [f"y{n}"])]
        assert got.tags == [["B-PER", "O"], ["B-LOC"]] * len(numbers)


def test_errors_name_the_function_called(pinned):
    with pytest.raises(ValueError, match=r"wikigold: line 2 of .*wikigold\.conll\.txt must be a token"):
        wikigold("test", pinned("wikigold/wikigold.conll.txt", b"a O\nb\n"))
    with pytest.raises(ValueError, match=r"ncbi_disease: line 1 of .*devel\.tsv must be a token"):
        ncbi_disease("validation", pinned("ncbi-disease/devel.tsv", b"a\n"))


@pytest.mark.parametrize("reader", [ncbi_disease, wikigold])
def test_an_unknown_split_is_refused(reader, tmp_path):
    with pytest.raises(
        ValueError, match=rf"{reader.__name__}: `split` must be one of train, validation, test, got 'devel'"
    ):
        reader("devel", tmp_path)


@pytest.mark.parametrize(("reader", "counts"), [(ncbi_disease, NCBI), (wikigold, WIKIGOLD)])
def test_the_real_sentences(directory, reader, counts):
    for split, expected in counts.items():
        got = reader(split, directory)
        tags = [tag for sentence in got.tags for tag in sentence]
        assert (len(got.tokens), len(tags), sum(tag.startswith("B-") for tag in tags)) == expected
        assert list(map(len, got.tokens)) == list(map(len, got.tags)) and min(map(len, got.tokens)) > 0
        for sentence in got.tags:
            for before, tag in itertools.pairwise(["O", *sentence]):
                assert tag[0] != "I" or before[1:] == tag[1:]


def test_all_of_the_real_wikigold(directory):
    lines = (directory / "wikigold" / "wikigold.conll.txt").read_text("utf-8").split("\n")
    words = sorted(line.split(" ")[0] for line in lines if line and not line.startswith("-DOCSTART-"))
    splits = [wikigold(split, directory) for split in WIKIGOLD]
    assert sorted(word for got in splits for sentence in got.tokens for word in sentence) == words
    kinds = {tag for got in splits for sentence in got.tags for tag in sentence}
    assert kinds == {"O"} | {f"{part}-{kind}" for part in "BI" for kind in ("PER", "LOC", "ORG", "MISC")}
