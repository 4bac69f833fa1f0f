/* The texts that a model is calibrated and judged by when nobody gives others: ours, by fours of a question and what
 * may answer it. The two lists share no subject. */
#include "models/probe.h"

const char *const wr_probe_calibration[WR_PROBE_CALIBRATION] = {
    "when is the difference between high and low water largest",
    "At new moon and full moon the pulls of Sun and Moon add up: high water stands higher and low water falls lower "
    "than usual. About a week later they pull at right angles, and the range is small.",
    "Sailors reckon the height of the tide with a rule of thumb: one twelfth of the range in the first hour, then two, "
    "three, three, two and one.",
    "A guide leads walkers over the mud flats to the island; they start two hours before low water.",
    "why did my sponge cake sink in the middle",
    "A cake falls when its foam sets too late: the oven door was opened early, the oven was too cool, or there was too "
    "much baking powder, whose bubbles grow until they burst.",
    "Bake for 35 minutes at 180 degrees on the middle shelf, and let it cool in its tin for ten minutes.",
    "Egg whites will not stiffen in a bowl that has the least trace of fat in it.",
    "no space left on device but df shows free space",
    "A file system can run out of inodes long before it runs out of blocks: every file, however small, takes one. "
    "df -i shows how many are left. Mail spools and session folders with millions of tiny files are the usual cause; "
    "removing them helps at once, a larger number of inodes needs a new file system.",
    "ENOSPC is also what inotify_add_watch returns when the limit in fs.inotify.max_user_watches is reached.",
    "The disk was replaced on Tuesday; since then the error has not come back.",
    "how long do honey bees live",
    "In summer a worker bee lives for five to six weeks; bees that hatch in autumn live through the winter, half a "
    "year "
    "and longer. A queen may reach the age of five.",
    "The drones are driven out of the hive when the nectar ceases to flow.",
    "Beekeepers feed sugar syrup in August, after the last honey has been taken.",
    "deadlock detected 40P01",
    "Two transactions each hold a lock that the other one waits for. The database ends one of them with this code; the "
    "client should repeat it. Taking locks always in the same order avoids the situation.",
    "An index on the foreign key shortens the time for which the rows of the parent table stay locked.",
    "VACUUM gives the space of dead rows back to the table, not to the operating system.",
    "symptoms of low blood sugar",
    "Trembling, cold sweat, hunger and a racing heart are early signs; later come confusion, slurred speech and fits. "
    "Glucose tablets or juice help within a quarter of an hour. Someone who has lost consciousness must not be given "
    "anything to drink: call an ambulance, and inject glucagon if it is at hand.",
    "Insulin was first given to a patient in January 1922 in Toronto.",
    "The patients of the second group ate nothing after eight in the evening.",
    "what is the tallest mountain of the solar system",
    "Olympus Mons on Mars rises some 22 kilometres above the plain; its caldera alone is 80 kilometres wide.",
    "Mauna Kea, measured from its foot on the sea floor, is taller than Mount Everest.",
    "The rover took 14 pictures of the crater's rim and then slept through the night at minus 80 degrees.",
    "can a landlord keep the deposit",
    "The deposit secures what the tenant owes when moving out: rent, heating, damage beyond normal wear. Whatever is "
    "not "
    "needed for that has to be returned, as a rule within six months. Scratches from years of use are no damage, a "
    "burnt hole in the parquet is. An itemised bill must be shown on request.",
    "The notice period is three months; it begins on the third working day of the month.",
    "The flat has two rooms, a kitchen with a window and a cellar; pets by agreement.",
    "learn to play the violin as an adult",
    "Begin with open strings and a mirror: a relaxed bow arm is worth more than a fast left hand. Twenty minutes a day "
    "are better than three hours on Sunday.",
    "Gut strings sound warmer than steel, but they have to be tuned more often.",
    "The orchestra rehearses the Brandenburg Concertos on Thursdays at 19:30 in the old fire station.",
    "cheapest way to travel from Vienna to Venice",
    "The night train leaves Vienna in the evening and reaches Venice before nine; early bookings of a seat cost less "
    "than 30 euros.",
    "A vaporetto day ticket costs 25 euros, and children under six travel free.",
    "Flights were cancelled because of fog; passengers were taken by coach.",
    "how does a heat pump work in winter",
    "Even air of minus ten degrees holds heat. A fluid that boils at minus forty takes it up, a compressor raises its "
    "pressure and with it its temperature, and the condenser gives the heat to the water of the radiators. For one "
    "kilowatt hour of current one gets about three of heat; the colder the air, the fewer.",
    "Old radiators need water of 60 degrees and more, floor heating is content with 35.",
    "The chimney sweep comes twice a year.",
    "plant a hedge for birds",
    "Hawthorn, blackthorn and dog rose give thorns against cats and berries until January; plant in October, three to "
    "a metre, and cut only after the young have flown.",
    "Nesting boxes are hung with the hole to the southeast, two to three metres above the ground.",
    "A hedge of thuja is dense and green all year, and nearly nothing lives in it."};

const char *const wr_probe_held_out[WR_PROBE_HELD_OUT] = {
    "why is the sky red at sunset",
    "At evening sunlight passes through forty times as much air as at noon. Blue light is scattered out of the beam on "
    "the way, and red is what remains.",
    "Dust from volcanoes painted the evenings of 1883 so brightly that fire engines were called out.",
    "The lighthouse is lit half an hour before sunset.",
    "git undo last commit but keep changes",
    "git reset --soft HEAD~1 takes the last commit back and leaves its changes in the index; with --hard they would be "
    "lost. If the commit has been pushed already, git revert makes a new one that undoes it, and nobody's history "
    "breaks.",
    "The reflog remembers for ninety days where a branch has been.",
    "A merge with conflicts stops, marks the places in the files and waits to be committed.",
    "side effects of ibuprofen",
    "The commonest are heartburn, nausea and stomach ache; taken for weeks it can cause ulcers and harm the kidneys. "
    "It "
    "should not be combined with other drugs of its kind, nor taken in the last third of a pregnancy. Tablets are best "
    "swallowed with food and plenty of water.",
    "Paracetamol lowers fever as well, but does not act against inflammation.",
    "In the trial 412 patients took a placebo, 409 the drug.",
    "what did the Hanseatic League trade",
    "Herring and cod, salt from L\xc3\xbcneburg, furs and wax from Novgorod, grain, timber, cloth of Flanders and beer "
    "went over the Baltic in cogs of a hundred tons.",
    "The cog has one mast, a square sail and a stern rudder.",
    "A museum in Bremen shows a ship of 1380 that was found in the mud of the Weser.",
    "sourdough starter smells of nail varnish",
    "It is hungry: when the flour is used up the yeasts make acetone-like esters. Feed it twice a day with equal parts "
    "of flour and water, and keep it at 25 degrees until it rises within four hours.",
    "Rye ferments faster than wheat.",
    "Knead for eight minutes, fold three times, and bake at 240 degrees with steam.",
    "TypeError: cannot read properties of undefined",
    "The object that stands before the dot does not exist at that moment, often because a reply has not come yet. Look "
    "at the line that the trace names, and check the value before its property is read; obj?.name gives undefined "
    "instead of the error.",
    "A promise that is rejected without a handler ends the process with status 1.",
    "The build takes 40 seconds with a cold cache and 3 with a warm one.",
    "how much sleep do teenagers need",
    "Eight to ten hours. Their inner clock runs two hours late, so a school that begins at half past eight instead of "
    "half past seven has pupils who are more awake and drive more safely.",
    "Coffee after four in the afternoon shortens deep sleep by a fifth.",
    "The exam takes place on 12 June at nine o'clock in the gymnasium.",
    "repair a bicycle puncture",
    "Take the tyre off on one side, draw the tube out, find the hole in a bowl of water, dry and roughen the place, "
    "spread the solution thinly, wait five minutes and press the patch on. Before the tube goes back, feel along the "
    "inside of the tyre for what made the hole.",
    "A chain lasts for about 3,000 kilometres if it is oiled after rain.",
    "The cycle path along the river is closed until the bridge has been rebuilt."};
