#include <criterion/criterion.h>
#include <string.h>

#include "indexer/stem_english.h"
#include "tests/testlib.h"

/* Stems that PyStemmer 3.1.0 (Snowball 3) gives: word:stem, first those that the rules speak of, then
 * common ones. */
static const char golden[] =
    "skis:ski skies:sky dying:die lying:lie vying:vie idly:idl gently:gentl ugly:ugli early:earli only:onli "
    "singly:singl sky:sky news:news howe:howe atlas:atlas bias:bias evening:evening evenings:evening "
    "exceed:exceed proceeding:proceed succeeded:succeed herring:herring organ:organ organic:organic "
    "organism:organism organization:organiz university:universiti universe:univers universal:universal past:past "
    "paste:paste pasting:paste later:later lateral:lateral emerge:emerg emergency:emergenc internal:internal "
    "international:internat interest:interest generate:generat generous:generous community:communiti "
    "communism:communism arsenic:arsenic arsenal:arsenal hopping:hop hoping:hope falling:fall added:add egged:egg "
    "off:off ebbing:ebb agreed:agre feed:feed sized:size flies:fli ties:tie cries:cri gas:gas this:this "
    "kiwis:kiwi gaps:gap us:us yes:yes yearly:year sayings:say toying:toy biologist:biolog geologist:geolog "
    "geology:geolog apologetically:apologet relational:relat conditional:condit valency:valenc hesitancy:hesit "
    "digitizer:digit conformably:conform radically:radic differently:differ analogously:analog "
    "vietnamization:vietnam predication:predic operator:oper feudalism:feudal decisiveness:decis hopefulness:hope "
    "callousness:callous formality:formal sensitivity:sensit sensibility:sensibl fluently:fluentli "
    "happily:happili electrical:electr hopeful:hope goodness:good revival:reviv allowance:allow inference:infer "
    "airliner:airlin gyroscopic:gyroscop adjustable:adjust defensible:defens irritant:irrit replacement:replac "
    "adjustment:adjust dependent:depend adoption:adopt homology:homolog activate:activ angularity:angular "
    "homologous:homolog effective:effect bowdlerize:bowdler probate:probat rate:rate cease:ceas controll:control "
    "roll:roll knightly:knight bed:bed red:red sled:sled shred:shred luxuriated:luxuri ing:ing ed:ed être:être "
    "naïveté:naïveté émigrés:émigré straße:straße x86:x86 a1s:a1 4ies:4ie acquired:acquir active:activ "
    "advantages:advantag advertised:advertis allocates:alloc allocator:alloc always:alway anager:anag "
    "applies:appli approaches:approach apps:app assertion:assert attribute:attribut blocks:block cache:cach "
    "canonical:canon cells:cell colecurrency:colecurr comes:come coming:come compares:compar completely:complet "
    "computers:comput concatenated:concaten conforming:conform consuming:consum convenience:conveni "
    "conversion:convers corporation:corpor costfinalize:costfin customized:custom datatype:datatyp "
    "delimited:delimit derivative:deriv descendant:descend description:descript diagnose:diagnos different:differ "
    "directive:direct disables:disabl disposition:disposit dumps:dump elevate:elev enumerators:enumer "
    "erasing:eras exclusive:exclus existing:exist expands:expand filtered:filter fired:fire forced:forc "
    "geometric:geometr greatly:great handles:handl hashes:hash heaps:heap ideally:ideal "
    "idebugeventcal:idebugeventc identically:ident imediasample:imediasampl indicates:indic inferred:infer "
    "infrastructure:infrastructur initializer:initi initiated:initi initiates:initi initiator:initi "
    "integral:integr intelligent:intellig interesting:interest interlocked:interlock interrupts:interrupt "
    "intersection:intersect invocation:invoc invoke:invok issues:issu locked:lock loses:lose manifests:manifest "
    "measurements:measur mitigation:mitig monochrome:monochrom multibyte:multibyt named:name "
    "ntgenerictable:ntgenerict opposed:oppos orage:orag organize:organiz overlapping:overlap overriding:overrid "
    "parental:parent parsing:pars patches:patch posts:post prepares:prepar presentation:present "
    "programmed:program putting:put raise:rais rarely:rare rating:rate reached:reach received:receiv "
    "recover:recov reflected:reflect released:releas reordering:reorder residual:residu resolves:resolv "
    "responses:respons reused:reus reverse:revers risks:risk saves:save sequencer:sequenc serializing:serial "
    "sets:set settings:set shifted:shift sinks:sink slightly:slight solely:sole spectre:spectr splitting:split "
    "subcomponents:subcompon subsequently:subsequ subtraction:subtract themselves:themselv therefore:therefor "
    "thousands:thousand tooltips:tooltip transferring:transfer transitions:transit triggered:trigger "
    "truetype:truetyp unregistered:unregist unspecified:unspecifi updated:updat users:user utes:ute utility:util "
    "validity:valid variety:varieti visibility:visibl volume:volum winmgmts:winmgmt workloads:workload "
    "workstation:workstat wrapping:wrap yields:yield";

Test(stem_english, gives_snowballs_stems)
{
    for (const char *pair = golden; *pair; pair += strcspn(pair, " "), pair += *pair == ' ') {
        char word[64];
        size_t n = strcspn(pair, ":"), want = strcspn(pair + n + 1, " ");
        memcpy(word, pair, n);
        size_t len = wr_stem_english(word, n);
        cr_expect(len == want && !memcmp(word, pair + n + 1, len), "%.*s: got %.*s", (int)(n + 1 + want), pair,
                  (int)len, word);
    }
}

Test(stem_english, any_word_stays_within_its_length)
{
    static const char *const piece[] = {"y", "ing", "eed",      "ational", "s", "ies",
                                        "e", "l",   "\xc3\xa9", "t",       "a", "past"};
    wr_test_random random = {8};
    for (int round = 0; round < 50000; round++) {
        char word[64];
        size_t n = 0;
        for (size_t i = wr_test_below(&random, 6); i > 0; i--) {
            const char *add = piece[wr_test_below(&random, sizeof piece / sizeof *piece)];
            memcpy(word + n, add, strlen(add));
            n += strlen(add);
        }
        word[n] = '!';
        size_t len = wr_stem_english(word, n);
        cr_assert(len <= n && (len > 0 || n == 0) && word[n] == '!');
    }
}
