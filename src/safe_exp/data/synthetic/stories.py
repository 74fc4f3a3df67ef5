"""Words of a made article: title, body and the caption of its picture, from a plan."""

import random

from safe_exp.data.synthetic.plan import CUE_SLOTS, Plan, Scene, SyntheticSettings, make_rng, pick

# (loud, sober) for each cue slot. The phrases of a slot occur nowhere else, so that an encoder that takes the maximum
# over an article can count loud slots: it sees that a phrase is there, not how often.
CUES = (
    (
        ("Shocking:", "Unbelievable:", "Exposed:"),
        ("Report:", "Update:", "Briefing:"),
    ),
    (
        (
            "Leaked messages prove that everybody was lied to.",
            "A secret insider has blown the whole cover-up.",
            "An anonymous blogger found the hidden truth.",
        ),
        (
            "A spokeswoman confirmed the account by telephone.",
            "Two officials described the same course of events.",
            "The county registry lists the event without remarks.",
        ),
    ),
    (
        (
            "It is a disgusting scandal, and heads must roll.",
            "This insane betrayal destroys everything we believed.",
            "Terrifying proof is spreading like wildfire.",
        ),
        (
            "An ordinary review is planned, as in earlier years.",
            "Costs are estimated at {number} thousand, a moderate sum.",
            "No complaint has been filed, according to the clerk.",
        ),
    ),
    (
        (
            "Share this before they delete it!",
            "Wake up, the elites are laughing at you!",
            "The mainstream media will never dare print it!",
        ),
        (
            "Further details are expected within a week.",
            "The full minutes can be read at the library.",
            "Corrections may be sent to the editors.",
        ),
    ),
)
assert len(CUES) == CUE_SLOTS

TITLES = (
    "{Colour} {subject} seen {place}",
    "Visitors gather around {colour} {subject} {place}",
    "{Colour} {subject} {place} draws attention",
    "Why a {colour} {subject} stands {place}",
    "{Name} brings {colour} {subject} to town",
    "A {colour} {subject} and its story",
)
LEADS = (
    "A {colour} {subject} was found {place} on {weekday} {time}, and {people} came to look at it.",
    "On {weekday} {time} {people} noticed a {colour} {subject} that stood {place}.",
    "It was {weekday} {time} when {name} first saw the {colour} {subject} {place}.",
    "The {colour} {subject} arrived {place} on {weekday} {time}, and {people} waited for it.",
)
DETAILS = (
    "The {subject} is {number} years old and has kept its {colour} paint.",
    "Nobody had expected a {colour} {subject} of that size {place}.",
    "{Name}, who looks after the {subject}, chose the {colour} colour long ago.",
    "From close by the {colour} {subject} looks larger than it is.",
    "Children were allowed to touch the {subject} for a short while.",
    "The {subject} belongs to {name}, who lives not far away.",
    "It took {number} people to bring the {colour} {subject} there.",
    "Until now a {subject} had rarely been seen {place}.",
)
FILLERS = (
    "The weather stayed mild, with a light wind from the west.",
    "Traffic was slow for about {number} minutes.",
    "{Name} sold coffee and bread to those who waited.",
    "A band from the next village played two songs.",
    "Last year a similar event had drawn {number} guests.",
    "The mayor, {name}, thanked the volunteers.",
    "Some stayed until late, others left after a quarter of an hour.",
    "The story was passed on by neighbours and friends.",
    "A photographer took {number} pictures for the archive.",
    "Schools in the district had asked for a visit.",
    "Parking was free, and the ground was dry.",
    "{Name} remembered a summer much like this one.",
)
PEOPLE = (
    "several neighbours",
    "a group of students",
    "dozens of people",
    "a few tourists",
    "two families",
    "many locals",
)
NAMES = (
    "Ada Lindqvist",
    "Tomas Okoye",
    "Mira Santos",
    "Jonas Weber",
    "Leila Haddad",
    "Peter Novak",
    "Ines Moreau",
    "Kenji Abe",
)
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
CAPTIONS = (
    "a {colour} {subject} {place} {time}",
    "a large {colour} {subject} {place} {time}",
    "there is a {colour} {subject} {place} {time}",
    "a picture of a {colour} {subject} {place} {time}",
    "one {colour} {subject} standing {place} {time}",
)
CAPTION_TIMES = {True: ("at night", "on a dark night"), False: ("by day", "on a bright day")}


def write_story(plan: Plan, config: SyntheticSettings) -> tuple[str, str]:
    """Write title and body of the article, 40 to 120 words together."""
    rng = make_rng(config, plan.number, "story")

    def fill(template: str) -> str:
        name = pick(rng, NAMES)
        return template.format(
            **_scene_words(plan.story),
            time="night" if plan.story.night else pick(rng, ("morning", "afternoon")),
            name=name,
            Name=name,
            people=pick(rng, PEOPLE),
            weekday=pick(rng, WEEKDAYS),
            number=3 + int(rng.random() * 90),
        )

    cues = [fill(pick(rng, loud if is_loud else sober)) for (loud, sober), is_loud in zip(CUES, plan.loud, strict=True)]
    title = f"{cues[0]} {fill(pick(rng, TITLES))}"
    middle = [
        *_pick_some(rng, DETAILS, 1 + int(rng.random() * 2)),
        *_pick_some(rng, FILLERS, 1 + int(rng.random() * 3)),
    ]
    sentences = [fill(template) for template in middle]
    for cue in cues[1:-1]:
        sentences.insert(int(rng.random() * (len(sentences) + 1)), cue)
    return title, " ".join([fill(pick(rng, LEADS)), *sentences, cues[-1]])


def write_caption(plan: Plan, config: SyntheticSettings) -> str:
    """Write one sentence that describes the picture."""
    rng = make_rng(config, plan.number, "caption")
    words = _scene_words(plan.picture)
    return pick(rng, CAPTIONS).format(**words, time=pick(rng, CAPTION_TIMES[plan.picture.night]))


def _scene_words(scene: Scene) -> dict[str, str]:
    words = {"subject": scene.subject, "colour": scene.colour, "place": scene.place}
    return {**words, "Colour": scene.colour.capitalize()}


def _pick_some(rng: random.Random, options: tuple[str, ...], count: int) -> list[str]:
    return sorted(options, key=lambda _: rng.random())[:count]
