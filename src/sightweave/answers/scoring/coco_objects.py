"""The 80 object classes of COCO, their other names in captions, and a function that makes plurals singular.

Microsoft COCO: Common Objects in Context (Lin et al. 2014, arXiv:1405.0312) defines the classes. The other words are
everyday English names of the class or of its kinds: all that the authors of CHAIR count (except ``knive`` and ``phon``,
which are not words but artifacts of their rules for singulars), and more. A word with two meanings counts as the class
(``orange`` is the fruit, ``mouse`` the device, ``bow`` the tie): a word list cannot tell them apart.
"""

from __future__ import annotations

import re

_NAMES = {
    "person": "man, woman, boy, girl, child, kid, baby, toddler, infant, people, lady, gentleman, guy, adult, "
    "teenager, teen, player, pitcher, batter, catcher, umpire, goalie, skier, snowboarder, skateboarder, "
    "surfer, rider, cyclist, biker, bicyclist, motorcyclist, driver, pedestrian, passenger, worker, chef, "
    "cook, waiter, waitress, officer, policeman, policewoman, fireman, firefighter, soldier, student, "
    "teacher, doctor, nurse, bride, groom, couple, crowd, friend, mother, father, mom, dad, son, "
    "daughter, brother, sister, husband, wife, family, swimmer, runner, athlete, spectator, shopper, "
    "customer, tourist, farmer, businessman, businesswoman, cowboy, clown, human, baker, cop, male, "
    "female, traveler, skater, foreigner, caller, offender, coworker, trespasser, patient, politician, "
    "grandchild, serviceman, walker, drinker, thief, buyer, camper, solider, hunter, villager",
    "bicycle": "bike, cycle, tricycle, pushbike, tandem, unicycle, minibike, trike",
    "car": "automobile, sedan, suv, minivan, hatchback, jeep, taxi, taxicab, cab, limousine, limo, convertible, "
    "coupe, van",
    "motorcycle": "motorbike, scooter, moped, motor bike, motor cycle, dirt bike, vespa",
    "airplane": "plane, aeroplane, aircraft, jet, airliner, jetliner, biplane, seaplane, jumbo jet, propeller plane, "
    "monoplane, airbus",
    "bus": "minibus, double decker, double decker bus, school bus, trolleybus, trolley",
    "train": "locomotive, tram, subway train, streetcar, freight train, steam engine, monorail, tramway, caboose",
    "truck": "lorry, pickup, semi, fire engine, fire truck, firetruck, tow truck, pickup truck, dump truck, semi "
    "truck, hauler",
    "boat": "ship, sailboat, canoe, kayak, ferry, yacht, rowboat, raft, gondola, motorboat, dinghy, barge, "
    "vessel, tugboat, liner, powerboat, speedboat, skiff, catamaran, pontoon, houseboat, trawler, "
    "ferryboat, watercraft, schooner, sailboard, paddleboat, lifeboat, freighter, steamboat, riverboat, "
    "battleship, steamship",
    "traffic light": "stoplight, traffic signal, stop light, street light, streetlight",
    "fire hydrant": "hydrant, fireplug",
    "stop sign": "stopsign",
    "parking meter": "parkometer",
    "bench": "park bench, pew",
    "bird": "pigeon, seagull, gull, duck, goose, swan, parrot, parakeet, owl, eagle, hawk, crow, penguin, "
    "ostrich, flamingo, pelican, peacock, sparrow, chicken, rooster, hen, heron, robin, dove, cockatoo, "
    "hummingbird, duckling, falcon, waterfowl, mallard, finch, seabird, osprey, blackbird, fowl, "
    "shorebird, woodpecker, egret, chickadee, quail, bluebird, kingfisher, buzzard, willet, bluejay, "
    "cormorant, loon, gosling, waterbird, pheasant, sandpiper, raven, turkey, oriole, cowbird, warbler, "
    "magpie, cockatiel, lorikeet, puffin, vulture, condor, macaw, peafowl, songbird",
    "cat": "kitten, kitty, tabby, feline",
    "dog": "puppy, pup, canine, hound, poodle, terrier, bulldog, dachshund, labrador, retriever, beagle, "
    "chihuahua, collie, doggy, pug, german shepherd, schnauzer, rottweiler, pitbull, doggie, doberman, "
    "mutt, spaniel, sheepdog, weimaraner, corgi, cocker, greyhound, brindle, whippet, husky",
    "horse": "pony, stallion, mare, foal, colt, racehorse, equine, palomino, mustang, clydesdale, bronc, bronco",
    "sheep": "lamb, ram, ewe, goat",
    "cow": "bull, calf, cattle, ox, steer, heifer, bovine, holstein, buffalo, zebu, bison",
    "elephant": "",
    "bear": "polar bear, grizzly, panda, bear cub",
    "zebra": "",
    "giraffe": "",
    "backpack": "rucksack, knapsack, back pack, book bag",
    "umbrella": "parasol",
    "handbag": "purse, hand bag, pocketbook, wallet, briefcase",
    "tie": "necktie, bow tie, bowtie, bow",
    "suitcase": "luggage, suit case, baggage",
    "frisbee": "flying disc",
    "skis": "ski",
    "snowboard": "snow board",
    "sports ball": "ball, baseball ball, basketball, football, soccer ball, tennis ball, volleyball, softball, beach "
    "ball",
    "kite": "",
    "baseball bat": "bat",
    "baseball glove": "mitt, baseball mitt, catcher mitt",
    "skateboard": "skate board",
    "surfboard": "surf board, boogie board, bodyboard, paddleboard, paddle board, skimboard, shortboard, wakeboard, "
    "longboard",
    "tennis racket": "racket, racquet, tennis racquet",
    "bottle": "beer bottle, wine bottle, water bottle",
    "wine glass": "wineglass, goblet, champagne glass",
    "cup": "mug, teacup, coffee cup",
    "fork": "",
    "knife": "butter knife, pocketknife",
    "spoon": "teaspoon, tablespoon",
    "bowl": "container",
    "banana": "",
    "apple": "",
    "sandwich": "burger, hamburger, cheeseburger, panini, sub sandwich, blt, sub",
    "orange": "",
    "broccoli": "",
    "carrot": "",
    "hot dog": "hotdog, corn dog, frankfurter",
    "pizza": "",
    "donut": "doughnut, bagel",
    "cake": "cupcake, cheesecake, birthday cake, wedding cake, shortcake, coffeecake, pancake",
    "chair": "stool, armchair, lawn chair, rocking chair, seat",
    "couch": "sofa, loveseat, futon, settee, chesterfield, recliner",
    "potted plant": "houseplant, pot plant, house plant, plant",
    "bed": "bunk bed, mattress",
    "dining table": "table, desk, kitchen table, coffee table",
    "toilet": "urinal, commode, lavatory, potty",
    "tv": "television, tv set, television set, flatscreen, telly, monitor, televison",
    "laptop": "notebook computer, laptop computer, macbook, computer, notebook, netbook, lenovo",
    "mouse": "computer mouse",
    "remote": "remote control, wii remote, game controller, wiimote",
    "keyboard": "computer keyboard",
    "cell phone": "cellphone, phone, smartphone, mobile phone, iphone, telephone, smart phone, mobile",
    "microwave": "microwave oven",
    "oven": "stove, stovetop, stove top oven",
    "toaster": "",
    "sink": "washbasin, basin",
    "refrigerator": "fridge, freezer, icebox",
    "book": "novel, textbook, paperback, magazine",
    "clock": "clock tower, wristwatch, alarm clock",
    "vase": "",
    "scissors": "scissor, shears",
    "teddy bear": "teddy, stuffed bear, teddybear, stuffed animal",
    "hair drier": "hair dryer, hairdryer, blow dryer, hairdrier, blow drier",
    "toothbrush": "tooth brush",
}

_OTHER_THINGS = (
    "toilet seat:toilet, toilet paper:, car seat:, orange juice:, bus stop:, bus station:, "
    "train station:, train track:, boat dock:, table cloth:, cup cake:cake, dog house:, bird house:, bird bath:, "
    "bed sheet:, bear hug:, horse carriage:, cake pan:, fire place:, baseball player:person, tennis player:person, "
    "baseball cap:, baseball field:, baseball game:, soccer player:person, football player:person, football field:, "
    "basketball court:, basketball player:person, volleyball player:person, volleyball net:, ski lift:, ski slope:, "
    "ski resort:, ski pole:, ski run:, home plate:, license plate:, number plate:, plant pot:, power plant:, "
    "table tennis:, chair lift:, dog sled:, cat food:, dog food:, bowl cut:, apple pie:, banana split:, carrot cake:cake"
)
"""Word pairs that mean something different from their separate words, each with the class that it names, if any."""

_IRREGULAR_PAIRS = (
    "people:people men:man women:woman children:child feet:foot teeth:tooth geese:goose mice:mouse oxen:ox "
    "calves:calf knives:knife wives:wife loaves:loaf halves:half shelves:shelf leaves:leaf wolves:wolf lives:life "
    "policemen:policeman policewomen:policewoman firemen:fireman businessmen:businessman gentlemen:gentleman "
    "businesswomen:businesswoman buses:bus busses:bus glasses:glass dishes:dish couches:couch benches:bench "
    "sandwiches:sandwich toothbrushes:toothbrush watches:watch wristwatches:wristwatch pizzas:pizza skis:skis "
    "scissors:scissors shears:shears series:series species:species broccolis:broccoli shoes:shoe canoes:canoe "
    "ties:tie neckties:necktie bowties:bowtie pies:pie cookies:cookie movies:movie zombies:zombie doggies:doggy "
    "kitties:kitty puppies:puppy ponies:pony babies:baby ladies:lady teddies:teddy tvs:tv"
)
_IRREGULAR = dict(pair.split(":") for pair in _IRREGULAR_PAIRS.split())
"""Irregular plurals and their singulars."""
_SINGULAR_ENDINGS = ("ss", "us", "is")
"""Endings of singular words that look like plurals."""

_ANIMALS = ("bird", "cat", "dog", "horse", "sheep", "cow", "elephant", "bear", "zebra", "giraffe")
_VEHICLES = ("car", "airplane", "plane", "jet", "bus", "train", "truck", "boat", "ship")


def singular(word: str) -> str:
    """The singular of a lower-case English noun; other words mostly stay as they are.

    Examples: ``dogs`` -> ``dog``, ``benches`` -> ``bench``, ``puppies`` -> ``puppy``, ``bus`` -> ``bus``.
    """
    if word in _IRREGULAR:
        return _IRREGULAR[word]
    if len(word) < 4 or not word.endswith("s") or word.endswith(_SINGULAR_ENDINGS):
        return word

    if word.endswith("ies"):
        return word[:-3] + "y"
    if word.endswith(("ches", "shes", "xes", "zzes", "oes")):
        return word[:-2]
    return word[:-1]


def _classes() -> dict[str, str]:
    """Maps each name, with its words in the singular, to its class; names of other things map to an empty text."""
    table = {name: name for name in _NAMES}
    for name, others in _NAMES.items():
        table.update(dict.fromkeys(filter(None, others.split(", ")), name))

    for pair in _OTHER_THINGS.split(", "):
        name, _, found = pair.partition(":")
        table[name] = found

    # In "baby elephant" and "passenger train" the first word is not a person.
    for age in ("baby", "adult"):
        table.update({f"{age} {name}": name for name in _ANIMALS})
    table.update({f"passenger {name}": table[name] for name in _VEHICLES})

    classes = {}
    for name, found in table.items():
        classes[" ".join(map(singular, name.split()))] = found

    return classes


_CLASSES = _classes()


def mentions(text: str) -> list[str]:
    """The classes that a text names, in order and with repetitions; among overlapping names the longest counts.

    Example: ``Two hot dogs on a table`` -> ``["hot dog", "dining table"]``.
    """
    words = [singular(word) for word in re.findall(r"[^\W_]+", text.casefold()) if word != "s"]

    found = []
    at = 0
    while at < len(words):
        # Try the longest names that start at this word first.
        for length in (3, 2, 1):
            name = " ".join(words[at : at + length])
            if name in _CLASSES:
                found.append(_CLASSES[name])
                at += length
                break
        else:
            at += 1

    return list(filter(None, found))
