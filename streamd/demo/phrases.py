"""The words of generated posts: sentences in eight languages, things to talk about, tails, and who talks.

Plain data. ``{}`` in a sentence is where its subject goes: a topic, a name asked for, or a near miss of one.
"""

from typing import Final

__all__ = [
    "DEFAULT_NAMES",
    "FAMILY_NAMES",
    "GIVEN_NAMES",
    "LEADS",
    "NEAR_MISS_ENDINGS",
    "SENTENCES",
    "TAILS",
    "TOPICS",
    "URL_MARK",
]

# Brands and a person that nobody is, with a phrase and an accent among them: those are the names that go
# wrong.
DEFAULT_NAMES: Final = ("Lyra", "Kestrel Air", "Nordvale", "Café Ondine", "Tessa Marlowe")

# A tail that holds this gets an address of its own.
URL_MARK: Final = "%URL%"

# The more often a sentence stands here, the more often it is said; English leads, as it does where posts come
# from.
SENTENCES: Final = (
    "just tried {} and honestly? not bad",
    "ok who else is obsessed with {} right now",
    "{} has been down for an hour, anyone else?",
    "Unpopular opinion: {} peaked two years ago",
    "can't believe {} did that",
    "Thinking about {} at 3am again",
    "My review of {}: 4/5, would queue again.",
    "Breaking: {} announces plans for next year",
    "so... {} replied to my ticket in 6 minutes. SIX.",
    "the line for {} goes round the block",
    "Nobody:\nAbsolutely nobody:\nMe: {}",
    "is it just me or is {} everywhere today",
    'She said "{}" and the whole room laughed',
    "we talked about {} for the entire flight",
    "TIL the story behind {}. Thread below",
    "Good morning to everyone except {}",
    "Anyone has a spare ticket? Will trade for {}",
    "Day 12 of asking {} for a dark mode",
    "hot take, {} was right all along",
    "I waited 40 min for {}. Never again!!",
    "la nueva de {} está increíble",
    "¿Alguien más con problemas con {} hoy?",
    "no me esperaba esto de {}, la verdad",
    "por fin probé {} y valió la pena",
    "Endlich {} ausprobiert, bin begeistert",
    "Warum redet heute jeder über {}?",
    "{} hat schon wieder Verspätung, großartig",
    "Acabei de ver {} na rua, que dia!",
    "não aguento mais ouvir falar de {}",
    "bugün {} hakkında konuşmayan kalmadı",
    "{} için iki saat bekledim, değdi mi? evet",
    "今日は {} の話ばかり見る",
    "やっと {} に行けた!",
    "आज सब लोग {} की बात कर रहे हैं",
    "{} के बारे में आपकी क्या राय है?",
    "الجميع يتحدث عن {} اليوم",
)

TOPICS: Final = (
    "the new season finale",
    "oat milk",
    "this heatwave",
    "sourdough",
    "the night bus",
    "my landlord",
    "remote work",
    "the derby",
    "marathon training",
    "chess boxing",
    "the referee",
    "cold brew",
    "indie games",
    "the 8:15 train",
    "vinyl",
    "#MondayMotivation",
    "#photography",
    "tax season",
    "my cat",
    "the northern lights",
    "electric scooters",
    "that documentary",
    "public libraries",
    "street food",
    "the housing market",
    "garlic noodles",
    "el clásico",
    "der Wetterbericht",
    "café con leche",
    "natto",
    "वड़ा पाव",
    "قهوة الصباح",
)

TAILS: Final = (
    "",
    "",
    "",
    "",
    "",
    "",
    ".",
    "!",
    " lol",
    " 😂",
    " 😂😂😂",
    " ❤️",
    " 🔥",
    " 🙏🏽",
    " 👩‍🍳",
    " 🇯🇵",
    " 🤷‍♀️",
    " #fyp",
    " #nowplaying",
    " #TravelTuesday #ootd",
    " #foodie",
    " #güneaydın",
    " smh",
    " (1/4)",
    f" {URL_MARK}",
    f" {URL_MARK}",
    f" via {URL_MARK} #news",
    f"\n\n{URL_MARK}",
)

# %s is another user.
LEADS: Final = ("", "", "", "", "", "", "", "@%s ", "RT @%s: ", "@%s lol ", ".@%s ", "ok @%s, ")

# Each makes another word out of a name, which must not count as the name.
NEAR_MISS_ENDINGS: Final = ("bird", "s_fan", "ish", "2", "ность", "ová", "_hq", "ness")

GIVEN_NAMES: Final = (
    "mira",
    "jonas",
    "ayo",
    "lucia",
    "kenji",
    "priya",
    "omar",
    "sofie",
    "diego",
    "anya",
    "tariq",
    "noemi",
    "felix",
    "yuki",
    "ines",
    "pavel",
    "zeynep",
    "hugo",
    "leila",
    "andré",
    "søren",
    "ольга",
    "さくら",
    "nadia",
)

FAMILY_NAMES: Final = (
    "okafor",
    "lindqvist",
    "moreau",
    "tanaka",
    "silva",
    "novak",
    "haddad",
    "byrne",
    "castillo",
    "weber",
    "demir",
    "rossi",
    "nair",
    "kowalska",
    "vega",
    "brandt",
    "fox",
    "writes",
    "daily",
    "irl",
)
