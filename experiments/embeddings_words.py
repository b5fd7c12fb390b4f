"""What vectors of words are asked: lists written for this from general knowledge, no standard set.

Each word of them, spelled so, occurs at least 20 times in the training split of WikiText-2.
"""

# Of each kind, a pair and the two after it make two questions: as the first is to its second, so is the next to what?
PAIRS = {
    "capital": "London England, Paris France, Berlin Germany, Rome Italy, Madrid Spain, Tokyo Japan, Dublin Ireland, "
    "Oslo Norway, Edinburgh Scotland, Cardiff Wales",
    "nationality": "France French, Germany German, England English, Italy Italian, Spain Spanish, Japan Japanese, "
    "Ireland Irish, India Indian, Scotland Scottish, Poland Polish",
    "gender": "man woman, he she, his her, father mother, son daughter, brother sister, husband wife, boy girl, "
    "king queen, actor actress",
    "plural": "city cities, town towns, album albums, song songs, film films, game games, episode episodes, "
    "ship ships, year years, church churches",
    "comparative": "large larger, small smaller, high higher, low lower, great greater, strong stronger, "
    "early earlier, young younger, short shorter, old older",
}

# Words that have to do with each other; each first with the second of every other pair is what they are held against.
RELATED = (
    "river lake, north south, east west, summer winter, January February, week month, army troops, ship fleet, "
    "guitar drums, album song, film actor, novel author, church bishop, king throne, storm hurricane, wind rain, "
    "father son, brother sister, doctor hospital, school students, goal match, season team, bird nest, tree forest, "
    "red blue, black white, million thousand, gun battery, road highway, train railway, planet star, music lyrics"
)

# Drawn into the map, a colour for each group.
GROUPS = {
    "countries": "England Scotland Ireland Wales France Germany Italy Spain Portugal Poland Russia Sweden Norway "
    "Canada Mexico Australia India China Japan",
    "family": "father mother son daughter brother sister husband wife uncle parents children boy girl man woman",
    "time": "January February March April May June July August September October November December "
    "summer winter spring day week month year",
    "numbers": "one two three four five six seven eight nine ten twelve twenty hundred thousand million",
    "music and film": "album song guitar drums vocals lyrics band music chorus film actor actress director episode "
    "scene character",
    "war": "army troops soldiers infantry battalion regiment division artillery gun battery ship fleet cruiser "
    "destroyer squadron navy",
    "weather and land": "storm hurricane cyclone wind winds rain rainfall flooding river lake mountain valley coast "
    "forest island",
    "sport": "season team league match goal goals coach player players football baseball basketball championship "
    "stadium tournament",
    "animals and plants": "bird birds species nest eggs prey animals fish plants trees forests mushroom cap gills",
}
ASKED = "king city river guitar army hurricane France football wrote December".split()  # whose nearest are shown


def pairs(text: str) -> list[tuple[str, str]]:
    """The pairs of a list."""
    return [(first, second) for first, second in (pair.split() for pair in text.split(", "))]


def questions() -> dict[str, list[tuple[str, str, str, str]]]:
    """Of each kind: (a, b, c, d), where a is to b as c is to d, and d is asked for."""
    found = {}
    for kind, text in PAIRS.items():
        own = pairs(text)
        found[kind] = [
            (*own[number], *own[(number + step) % len(own)]) for number in range(len(own)) for step in (1, 2)
        ]
    return found
