"""Writers of the corpus: each draws one document from a generator."""

from collections.abc import Callable
from random import Random

from meshtune.engine.tasks.understanding import KIND_OF, NAMED_ANIMALS, OPPOSITE_OF, QUALITIES
from meshtune.engine.tasks.words import ANIMALS, COLOURS, FACTS, WORDS, number_in_words

# Pieces of text in turn: a lead, what follows from it, another lead and so on; each may be empty.
Document = tuple[str, ...]
Writer = Callable[[Random], Document]

GAPS = (": ", " is ", " = ", " makes ", ", so ", " ~ ", ":", "=", "~", " ")
STOPS = (": ", ", ", "? ", " ... ", "|", ":")
# Which pair of verdicts is meant is told by the words before the claim.
VERDICTS = (
    ("true or false: ", "true", "false"),
    ("right or wrong? ", "right", "wrong"),
    ("T/F ", "T", "F"),
    ("1 or 0? ", "1", "0"),
    ("check: ", "ok", "bad"),
)
LIKELIHOODS = (
    ("sure, never, maybe? ", "sure", "never", "maybe"),
    ("A/B/C ", "A", "B", "C"),
    ("1, 2 or 3: ", "1", "2", "3"),
    ("judge: ", "+", "-", "?"),
)
LABELS = (("1", "2", "3", "4"), ("p", "q", "r", "s"), ("h", "j", "k", "m"), ("A", "B", "C", "D"))
STARTS = tuple(start for start, _ in FACTS)
ENDINGS = tuple(ending for _, ending in FACTS)


def write_addition(rng: Random) -> Document:
    first = rng.randrange(10, 90) if rng.random() < 0.9 else rng.randrange(1, 10)
    second = rng.randrange(10, 100 - first) if rng.random() < 0.9 else rng.randrange(1, 10)
    joint = rng.choice((" and ", " with ", " ", ",", "&", " & ", " plus ", "/"))
    lead = rng.choice(("sum ", "add ", "total ", "together ", ""))
    tail = "" if lead else rng.choice((" summed", " added", " in all", " together"))
    return f"{lead}{first}{joint}{second}{tail}{rng.choice(GAPS)}", str(first + second)


def write_counting(rng: Random) -> Document:
    start, step = rng.randrange(0, 80), rng.choice((1, 1, 1, 2, 5, 10))
    numbers = range(start, start + 5 * step, step)
    in_words = rng.random() < 0.5
    shown = [number_in_words(n) if in_words else str(n) for n in numbers]
    comma = rng.choice((", ", " ", " then "))
    return comma.join(shown[:2]), comma + comma.join(shown[2:])


def write_number_words(rng: Random) -> Document:
    number = rng.randrange(100, 1000) if rng.random() < 0.9 else rng.randrange(100)
    words, gap = number_in_words(number), rng.choice(GAPS)
    return rng.choice(
        (
            (f"{number} in words{gap}", words),
            (f"say {number}{gap}", words),
            (f"say #{number}{gap}", words),
            (f"read {number} aloud{gap}", words),
            (f"number {number}{gap}", words),
            (f"no {number} (", f"{words})"),
            (f"{words} in digits{gap}", str(number)),
            (f"words {number}{gap}", words),
        )
    )


def write_expression(rng: Random) -> Document:
    a, b, c = (rng.randrange(1, 10) for _ in range(3))
    times = rng.choice((" times ", " x ", "x", " by "))
    more, less = rng.choice((" plus ", " and ", "&", " & ")), rng.choice((" minus ", " less "))
    forms = [
        (f"{a}{times}{b}", a * b),
        (f"{a}{times}{b}{more}{c}", a * b + c),
        (f"{c}{more}{a}{times}{b}", a * b + c),
        (f"{a}{times}{b}{less}{c}", a * b - c),
    ]
    body, value = rng.choice(forms if a * b >= c else forms[:3])
    lead = rng.choice(("compute ", "work out ", "value of ", "reckon ", ""))
    return f"{lead}{body}{rng.choice(GAPS)}", str(value)


def write_list(rng: Random) -> Document:
    items = [rng.randrange(10) for _ in range(rng.choice((3, 4, 4, 5)))]
    comma = rng.choice((",", ",", " ", ", ", ";"))
    bracket = rng.choice(("[]", "[]", "()", "  "))

    def shown(values: list[int]) -> str:
        return (bracket[0] + comma.join(map(str, values)) + bracket[1]).strip()

    index = rng.randrange(len(items))
    order, result = rng.choice(
        (
            (("in order", "arranged", "lined up"), shown(sorted(items))),
            (("backwards", "turned round", "from the end"), shown(items[::-1])),
            (("without its head", "less the head", "tail"), shown(items[1:])),
            (("biggest", "top one", "largest"), str(max(items))),
            (("tiniest", "bottom one", "lowest"), str(min(items))),
            ((f"at {index}", f"place {index}", f"item {index}"), str(items[index])),
            (("copied", "again", "the same"), shown(items)),
        )
    )
    cue, body = rng.choice(order), shown(items)
    asked = rng.choice((f"{cue} {body}", f"{body} {cue}", f"{cue} of {body}"))
    return asked + rng.choice(GAPS), result


def write_word_play(rng: Random) -> Document:
    word = rng.choice(WORDS)
    if rng.random() < 0.3:
        word = "".join(rng.choice("abcdefghiklmnoprstuwy") for _ in range(rng.randrange(3, 6)))
    order, result = rng.choice(
        (
            (("big letters", "loud", "in headline type"), word.upper()),
            (("letters of", "letter by letter", "taken apart"), "-".join(word)),
            (("start of", "head of", "opens with"), word[0]),
            (("end of", "closing of", "ends with"), word[-1]),
            (("say", "copy", "once"), word),
            (("two of", "double", "a pair of"), f"{word} {word}"),
        )
    )
    cue = rng.choice(order)
    asked = rng.choice(
        (f"{cue} {word}", f"{cue}: {word}", f"{word}, {cue}", f'{cue} "{word}"', f'"{word}" {cue}')
    )
    return asked + rng.choice(GAPS), result


def write_passage(rng: Random) -> Document:
    first, second = rng.sample(ANIMALS, 2)
    one, two = rng.sample(COLOURS, 2)
    verb = rng.choice((" is ", " is ", " ", " was ", " looks "))
    article = rng.choice(("the ", "", "a "))
    link = rng.choice((", ", ",", " and ", "; ", ". "))
    passage = f"{article}{first}{verb}{one}{link}{article}{second}{verb}{two}"
    animal, colour, other = rng.choice(((first, one, two), (second, two, one)))
    kind = rng.randrange(6)
    if kind == 0:
        ask = rng.choice(("so the", "what is the", "the", "look, the"))
        return f"{passage}. {ask} {animal}{rng.choice((' is ', ': ', '? '))}", colour
    if kind == 1:
        ask = rng.choice(("which is", "who is", "the one that is"))
        return f"{passage}. {ask} {colour}{rng.choice(('? ', ': '))}", animal
    question, yes, no = rng.choice(VERDICTS)
    true = rng.random() < 0.5
    claim = f"{animal}{rng.choice((' is ', ' ', ' was '))}{colour if true else other}"
    stop = rng.choice((". ", ".", "; ", "/"))
    asked = rng.choice((f"{question}{passage}{stop}{claim}", f"{passage}{stop}{question}{claim}"))
    return asked + rng.choice(STOPS), yes if true else no


def write_inference(rng: Random) -> Document:
    animal, quality = rng.choice(NAMED_ANIMALS), rng.choice(QUALITIES)
    subject = rng.choice((animal, KIND_OF[animal]))
    opposite = OPPOSITE_OF[quality]
    label = rng.randrange(3)
    if label == 0:
        claim = rng.choice((quality, f"not {opposite}"))
    elif label == 1:
        claim = rng.choice((opposite, f"not {quality}"))
    else:
        other = rng.choice([q for q in QUALITIES if q not in (quality, opposite)])
        claim = rng.choice((other, f"not {other}"))
    question, *verdicts = rng.choice(LIKELIHOODS)
    article = rng.choice(("the ", "", "a "))
    link = rng.choice((". ", ", ", " -- ", "/", ". then ", ", and "))
    verb = rng.choice((" is ", " is ", " was ", " seems "))
    premise, claimed = f"{article}{animal}{verb}{quality}", f"{article}{subject}{verb}{claim}"
    asked = rng.choice(
        (f"{question}{premise}{link}{claimed}", f"{premise}{link}{question}{claimed}")
    )
    return asked + rng.choice(STOPS), verdicts[label]


def write_kind(rng: Random) -> Document:
    animal, quality = rng.choice(NAMED_ANIMALS), rng.choice(QUALITIES)
    kind, opposite = KIND_OF[animal], OPPOSITE_OF[quality]
    return rng.choice(
        (
            (f"the {animal} is a ", kind),
            (f"{quality} is not ", opposite),
            (f"the opposite of {quality} is ", opposite),
            (f"if the {animal} is {quality}, it is not ", opposite),
            (f"a {quality} {animal} is a {quality} ", kind),
        )
    )


def write_fact(rng: Random) -> Document:
    start, ending = rng.choice(FACTS)
    return rng.choice(
        (
            (f"the {start} ", ending),
            (f"a {start} ", ending),
            (f"we know the {start} ", ending),
            (f"{ending}: that is what the ", start),
            (f"what the {start} is ", ending),
        )
    )


def labelled(shown: list[str], labels: tuple[str, ...], rng: Random) -> str:
    comma, mark = rng.choice((", ", ",", "; ")), rng.choice((" ", ") ", "=", ". "))
    return comma.join(f"{label}{mark}{text}" for label, text in zip(labels, shown, strict=False))


def write_choice(rng: Random) -> Document:
    start, right = rng.choice(FACTS)
    count = rng.choice((3, 4, 4))
    wrong = rng.sample([ending for ending in ENDINGS if ending != right], count - 1)
    place = rng.randrange(count)
    labels = rng.choice(LABELS)
    options = labelled([*wrong[:place], right, *wrong[place:]], labels, rng)
    start = rng.choice(("the ", "", "a ")) + start
    gap = rng.choice((". ", ": ", "? ", " - ", "; ", ":"))
    lead = rng.choice((f"{start}{gap}{options}", f"{options}{gap}{start}"))
    if rng.random() < 0.8:
        return lead + rng.choice((" ... ", ": ", " so ", "|")), labels[place]
    return lead + rng.choice(("? ", " answer ")), right


def write_lookup(rng: Random) -> Document:
    """Labelled words, then the label of one of them or the word behind a label."""
    count = rng.choice((3, 4))
    shown, labels = rng.sample(WORDS, count), rng.choice(LABELS)
    place = rng.randrange(count)
    options = labelled(shown, labels, rng)
    if rng.random() < 0.7:
        return f"{options}. {shown[place]}{rng.choice((' has ', ': ', ' is ', '|'))}", labels[place]
    return f"{options}. {labels[place]}{rng.choice((' means ', ': ', ' is '))}", shown[place]


def write_retelling(rng: Random) -> Document:
    """Facts told twice, the second time in another order."""
    count = rng.choice((2, 2, 3))
    facts = list(zip(rng.sample(ANIMALS, count), rng.sample(COLOURS, count), strict=True))
    verb = rng.choice((" is ", " ", " ", " was ", "="))
    link = rng.choice((", ", ",", " and ", "; "))
    told = link.join(f"{animal}{verb}{colour}" for animal, colour in facts)
    pieces = [told + rng.choice((". ", ".", "; again "))]
    for animal, colour in rng.sample(facts, count):
        pieces += [f"{animal}{verb}", f"{colour}{link}"]
    return tuple(pieces)


def write_verdicts(rng: Random) -> Document:
    """A passage and three claims on it."""
    facts = list(zip(rng.sample(ANIMALS, 2), rng.sample(COLOURS, 2), strict=True))
    question, yes, no = rng.choice(VERDICTS)
    verb, link = rng.choice((" is ", " ", " ", " was ")), rng.choice((", ", ",", "; "))
    stop, end = rng.choice(("? ", ": ", "?", " ")), rng.choice((" ", ", ", "/"))
    told = link.join(f"{animal}{verb}{colour}" for animal, colour in facts)
    pieces = [question + told + rng.choice((". ", "."))]
    for _ in range(3):
        (animal, colour), (_, other) = rng.sample(facts, 2)
        true = rng.random() < 0.5
        pieces[-1] += f"{animal}{verb}{colour if true else other}{stop}"
        pieces += [yes if true else no, end]
    return tuple(pieces)


def write_judgements(rng: Random) -> Document:
    """A sentence and three claims that follow, contradict or stay open."""
    animal, quality = rng.choice(NAMED_ANIMALS), rng.choice(QUALITIES)
    opposite = OPPOSITE_OF[quality]
    question, *verdicts = rng.choice(LIKELIHOODS)
    verb, stop = rng.choice((" is ", " is ", " seems ")), rng.choice((": ", "? ", ":", " "))
    pieces = [question + animal + verb + quality + rng.choice((". ", "/", ", ", " -- "))]
    for _ in range(3):
        label = rng.randrange(3)
        other = rng.choice([q for q in QUALITIES if q not in (quality, opposite)])
        plain, negated = ((quality, opposite), (opposite, quality), (other, other))[label]
        claim = rng.choice((plain, f"not {negated}"))
        pieces[-1] += f"{rng.choice((animal, KIND_OF[animal]))}{verb}{claim}{stop}"
        pieces += [verdicts[label], rng.choice((" ", ", "))]
    return tuple(pieces)


def write_matches(rng: Random) -> Document:
    """Endings with labels, then beginnings with the label of their ending."""
    facts, labels = rng.sample(FACTS, 4), rng.choice(LABELS)
    mark, comma = rng.choice((" ", " ", "=", " is ")), rng.choice((", ", ",", "; "))
    told = comma.join(f"{end}{mark}{label}" for (_, end), label in zip(facts, labels, strict=True))
    asked = rng.sample(list(zip(facts, labels, strict=True)), rng.choice((1, 3, 4)))
    stop = rng.choice((" ", ": ", ":", "? "))
    if len(asked) == 1:
        ((start, _), label) = asked[0]
        return f"{start}{stop}{told}{rng.choice((' ... ', '|', ': '))}", label
    pieces = [told + rng.choice((". ", ": ", "/"))]
    for (start, _), label in asked:
        pieces[-1] += f"{start}{stop}"
        pieces += [label, comma]
    return tuple(pieces)


def write_labels(rng: Random) -> Document:
    """Words with labels, told twice in different order."""
    labels = rng.choice(LABELS)
    words = list(zip(rng.sample(WORDS, 4), labels, strict=True))
    mark, comma = rng.choice((" ", "=", " is ")), rng.choice((", ", ",", "; "))
    pieces = [comma.join(f"{word}{mark}{label}" for word, label in words) + ". "]
    for word, label in rng.sample(words, 4):
        pieces[-1] += word + mark
        pieces += [label, comma]
    return tuple(pieces)


def write_list_many(rng: Random) -> Document:
    """One list and the results of several operations on it."""
    items = [rng.randrange(10) for _ in range(rng.choice((3, 4, 4)))]

    def shown(values: list[int]) -> str:
        return "[" + ",".join(map(str, values)) + "]"

    index = rng.randrange(len(items))
    results = (
        ("in order", shown(sorted(items))),
        ("backwards", shown(items[::-1])),
        ("tail", shown(items[1:])),
        ("largest", str(max(items))),
        ("lowest", str(min(items))),
        (f"at {index}", str(items[index])),
    )
    gap, pieces = rng.choice((" ", ": ", "=", ":")), [shown(items) + rng.choice((". ", " ", ": "))]
    for cue, result in rng.sample(results, 4):
        pieces[-1] += cue + gap
        pieces += [result, rng.choice((", ", " ", "; "))]
    return tuple(pieces)


def write_chain(rng: Random) -> Document:
    """The mark `>` between things that have nothing to do with each other."""
    things = (
        rng.choice(WORDS),
        str(rng.randrange(1000)),
        rng.choice("abcdeny"),
        f"[{rng.randrange(10)},{rng.randrange(10)}]",
        rng.choice(QUALITIES),
        rng.choice(("hundred", "forty", "seven", "CAT", "HAT")),
    )
    return ">".join(rng.sample(things, 4)), ""


def write_notation(rng: Random) -> Document:
    """Python text and the words of the prompts, without any result."""
    a, b, c = (rng.randrange(1, 10) for _ in range(3))
    name, other = rng.choice("abcdefgnxyz"), rng.choice("abcdefgnxyz")
    items = "[" + ",".join(str(rng.randrange(10)) for _ in range(rng.choice((3, 4)))) + "]"
    word, order = rng.choice(WORDS), rng.choice(("capitals", "spell", "first", "last", "repeat"))
    text = rng.choice(
        (
            f"{name} = {items}",
            f"{rng.choice(('sorted', 'max', 'min'))}({items}), {name}",
            f"print(max({other}), min({name}))",
            f"{items}[::-1], {items}[1:]",
            f"{name} = {items}[{c}]",
            f"{a}*{b}+{c}, {c}+{b}*{a}, {b}*{c}-{a}",
            f"{name} = {a}*{b}+{c}; {other} = {c}+{a}*{b}",
            f"{rng.randrange(10, 99)}+{rng.randrange(10, 99)}, {rng.randrange(10, 99)}+{name}",
            f"x={a}*{b}-{c}; y={c}+{a}*{b};y=x",
            f"#{rng.randrange(100, 999)}, #{rng.randrange(100, 999)}, {rng.randrange(100, 999)}",
            f'the {order} "{word}", {rng.choice(("twice", order))} {rng.choice(WORDS)}',
            f'{rng.choice(("twice", order))} "{word}", twice "{rng.choice(WORDS)}"',
            f"{rng.choice(STARTS)}:"
            + ",".join(map(" ".join, zip("abcd", rng.sample(ENDINGS, 4), strict=True))),
        )
    )
    return text, ""


def write_options(rng: Random) -> Document:
    """The beginning of a sentence and four endings, without a verdict."""
    pairs = zip(rng.sample(ENDINGS, 4), "abcd", strict=True)
    return f"{rng.choice(STARTS)}:" + ",".join(map(" ".join, pairs)), ""
