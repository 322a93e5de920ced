"""The small world that tasks and pretraining corpus talk about: animals, things, colours, facts."""

ANIMALS = ("cat", "dog", "hen", "owl", "ant", "bee", "fox", "pig", "cow", "rat", "bat", "elk")
COLOURS = ("red", "tan", "blue", "pink", "gold", "grey", "lime", "teal")

# What each kind of animal is called; the kinds do not overlap.
KINDS = {
    "pet": ("cat", "dog"),
    "bird": ("hen", "owl"),
    "bug": ("ant", "bee"),
    "beast": ("fox", "elk"),
}

OPPOSITES = (
    ("big", "small"),
    ("wet", "dry"),
    ("hot", "cold"),
    ("old", "young"),
    ("fast", "slow"),
    ("sad", "glad"),
    ("thin", "fat"),
    ("near", "far"),
    ("loud", "calm"),
    ("weak", "strong"),
)

# Subject with verb, and the one ending that makes sense; every ending belongs to one fact only.
FACTS = (
    ("bee makes", "honey"),
    ("cow gives", "milk"),
    ("hen lays", "eggs"),
    ("sheep gives", "wool"),
    ("cat says", "meow"),
    ("dog says", "woof"),
    ("pig says", "oink"),
    ("duck says", "quack"),
    ("owl says", "hoot"),
    ("fish can", "swim"),
    ("frog says", "croak"),
    ("hawk can", "fly"),
    ("sun gives", "light"),
    ("cloud gives", "rain"),
    ("broom sweeps", "dust"),
    ("oven bakes", "bread"),
    ("pen writes", "words"),
    ("saw cuts", "wood"),
    ("soap makes", "foam"),
    ("key opens", "lock"),
    ("clock shows", "time"),
    ("rose has", "thorn"),
    ("ship sails", "sea"),
    ("train needs", "rail"),
    ("car needs", "road"),
    ("spider weaves", "web"),
    ("bird builds", "nest"),
    ("horse eats", "hay"),
    ("mouse eats", "cheese"),
    ("panda eats", "bamboo"),
    ("drum makes", "beat"),
    ("bell makes", "ring"),
)

THINGS = (
    "hat", "cup", "box", "bag", "bed", "map", "pot", "jar", "key", "pen", "fan", "net", "oar",
    "lamp", "boat", "door", "desk", "coat", "ring", "rope", "drum", "bell", "fork", "sofa",
    "tree", "leaf", "rose", "moss", "hill", "lake", "rock", "sand", "snow", "star", "moon",
    "wind", "corn", "bean", "plum", "pear", "lime", "kiwi", "fig", "nut", "pea", "oat", "rice",
    "milk", "soup", "cake", "jam", "tea", "egg", "wolf", "bear", "deer", "goat", "duck", "swan",
    "crab", "frog", "toad", "newt", "moth", "wasp", "seal", "mole", "hawk", "crow", "dove",
    "lion", "hare", "mouse", "horse", "sheep", "tiger", "zebra", "otter", "panda", "snail",
    "chair", "table", "brush", "spoon", "knife", "plate", "clock", "piano", "flute", "wheel",
    "train", "truck", "plane", "river", "beach", "storm", "cloud", "grass", "apple", "grape",
    "lemon", "melon", "peach", "onion", "bread", "sugar", "honey",
)  # fmt: skip
WORDS = tuple(dict.fromkeys(ANIMALS + COLOURS + THINGS))

UNITS = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten",
    "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen",
    "nineteen",
)  # fmt: skip
TENS = ("", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")


def number_in_words(number: int) -> str:
    """English name of a number from 0 to 999, without "and" and without hyphens."""
    if not 0 <= number <= 999:
        raise ValueError(f"number {number} has no name here; it must lie between 0 and 999")
    if number < len(UNITS):
        return UNITS[number]
    if number < 100:
        return f"{TENS[number // 10]} {UNITS[number % 10]}".removesuffix(" zero")
    return f"{UNITS[number // 100]} hundred {number_in_words(number % 100)}".removesuffix(" zero")
