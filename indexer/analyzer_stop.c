/* English is Lucene's list, word for word, so that figures can be compared. The others are short lists of our own:
 * articles, pronouns, prepositions, conjunctions and the forms of "to be" and "to have", nothing that names a thing.
 * Elided forms (French "qu", Italian "dell") stand without their apostrophe, as the analyzer cuts them. */
#include "indexer/analyzer_stop.h"

#include <stddef.h>
#include <string.h>

static const char english[] = "a an and are as at be but by for if in into is it no not of on or such that the their "
                              "then there these they this to was will with";

static const char german[] =
    "aber alle allem allen aller alles als also am an ander andere anderem anderen anderer anderes auch auf aus bei "
    "bin "
    "bis bist da damit dann das dass daß dein deine dem den denn der des dich die dies diese diesem diesen dieser "
    "dieses dir doch dort du durch ein eine einem einen einer eines er es etwas euch euer für gegen hab habe haben hat "
    "hatte hatten hier hin hinter ich ihm ihn ihnen ihr ihre ihrem ihren ihrer im in indem ins ist jede jedem jeden "
    "jeder jedes jene jener jetzt kann kein keine keinem keinen keiner können könnte machen man mein meine mich mir "
    "mit "
    "nach nicht nichts noch nun nur ob oder ohne sehr sein seine seinem seinen seiner selbst sich sie sind so solche "
    "soll sollte sondern sonst über um und uns unser unsere unter viel vom von vor war waren warst was weg weil welche "
    "welchem welchen welcher welches wenn werde werden wie wieder will wir wird wirst wo wollen würde würden zu zum "
    "zur "
    "zwar zwischen";

static const char french[] =
    "ai au aux avec avait avaient avoir ayant ce ceci cela ces cet cette ceux celle celles celui comme dans de des "
    "donc "
    "dont du elle elles en es est et étaient était étant été être eu eux fut il ils je la là le les leur leurs lui ma "
    "mais me même mes moi mon ne ni nos notre nous on ont ou où par pas pour qu que quel quelle quelles quels qui sa "
    "sans se sera serait ses si soi soit son sont sous suis sur ta te tes toi ton tu un une vos votre vous ça aurait "
    "lors jusqu lorsqu puisqu quoiqu";

static const char spanish[] =
    "al algo algunas algunos ante antes aquel aquella aquellos aquellas así aunque como con contra cual cuales cuando "
    "de del desde donde durante el él ella ellas ellos en entre era eran eres es esa esas ese eso esos esta está están "
    "estar estas este esto estos fue fueron ha había han has hasta hay he la las le les lo los más me mi mis mucho muy "
    "nada ni no nos nosotros nuestra nuestro o os otra otras otro otros para pero poco por porque que qué quien "
    "quienes "
    "se sea ser si sí sido sin sobre son soy su sus suya suyo también tanto te tenía ti tiene tienen todo todos tu tus "
    "tú un una unas uno unos vosotros ya yo";

static const char italian[] =
    "ad agli ai al all alla alle allo anche avere aveva avevano ha hai hanno ho che chi ci coi col come con contro cui "
    "da dagli dai dal dall dalla dalle dallo degli dei del dell della delle dello di dove ed era erano essere fra fu "
    "furono gli ha il in io la le lei li lo loro lui ma mi mia mie miei mio ne negli nei nel nell nella nelle nello "
    "noi "
    "non nostra nostro o per perché più quale quali quando quanta quanto quella quelle quelli quello questa queste "
    "questi questo sarà se sei si sia siamo siano sono sta su sua sue sugli sui sul sull sulla sulle sullo suo suoi ti "
    "tra tu tua tue tuo tuoi tutti tutto un una uno vi voi vostra vostro è";

static const char portuguese[] =
    "ao aos aquela aquelas aquele aqueles aquilo as até com como da das de dela delas dele deles depois do dos e é ela "
    "elas ele eles em entre era eram essa essas esse esses esta está estas estão estar este estes eu foi foram há isso "
    "isto já lhe lhes mais mas me mesmo meu meus minha minhas muito na não nas nem no nos nós nossa nosso num numa o "
    "os "
    "ou para pela pelas pelo pelos por qual quando que quem são se seja sem ser será seu seus só sua suas também te "
    "tem "
    "têm ter teu tinha tu tua um uma umas uns você vocês à às";

static const char dutch[] =
    "aan al alles als altijd andere ben bij daar dan dat de der deze die dit doch doen door dus een eens en er ge geen "
    "had heb hebben heeft hem het hier hij hoe hun iemand iets ik in is ja je kan kon kunnen maar me meer men met mij "
    "mijn moet na naar niet niets nog nu of om omdat onder ons ook op over reeds te tegen toch toen tot uit uw van "
    "veel "
    "voor want waren was wat werd wezen wie wil worden wordt zal ze zelf zich zij zijn zo zonder zou";

static const char swedish[] =
    "alla allt att av bli blir blev de dem den denna deras dess dessa det detta dig din dina ditt du då där efter ej "
    "eller en er era ert ett från för ha hade han hans har hennes hon honom hur här i icke inom inte jag ju kan kunde "
    "man med mellan men mig min mina mitt mot mycket ni nu när någon något några och om oss på samma sedan sig sin "
    "sina "
    "sitt själv skulle som så sådan till under upp ut utan vad var vara varför varit varje vars vart vem vi vid vilka "
    "vilken vilket vår vårt är åt över";

static const char norwegian[] =
    "alle at av bare begge ble bli blir både da de deg dem den denne der deres det dette din disse du då eg ein eit "
    "eller en er et etter for fordi fra før ha hadde han hans har hennes her hun hva hvem hver hvilke hvilken hvis "
    "hvor "
    "hvordan hvorfor i ikke ikkje inn ja jeg kan kom kun kunne man mange med meg mellom men mer min mitt mot mye ned "
    "nei "
    "noe noen nå når og også om opp oss over på seg selv sin sine sitt skal skulle slik som så til ut uten var vart "
    "ved "
    "vi vil ville vår være vært å";

static const char danish[] =
    "ad af alle alt anden at blev blive bliver da de dem den denne der deres det dette dig din disse dog du efter "
    "eller "
    "en end er et for fra ham han hans har havde have hende hendes her hos hun hvad hvis hvor i ikke ind jeg jer jo "
    "kan "
    "kunne man mange med meget men mig min mine mit mod ned noget nogle nu når og også om op os over på selv sig sin "
    "sine sit skal skulle som sådan thi til ud under var vi vil ville vor være været";

static const char finnish[] =
    "että ei eivät emme en et ette he heidän heille hän hänelle hänen häntä ja jos joka jotka johon josta jossa kanssa "
    "kuin kun kuka me meidän mikä minkä minulle minun minä mutta myös ne niiden niin niitä nyt näiden näitä nämä ole "
    "olemme olen olet olette oli olivat olla olleet ollut on ovat poikki se sekä sen siitä sille sinä sinun sitä tai "
    "te tämä tämän tässä tästä tätä vaan vai vaikka";

static const char russian[] =
    "а без более бы был была были было быть в вам вас во вот все всё всех вы где да для до его ее её ей если есть ещё "
    "еще же за и из или им их к как ко когда кто ли между меня мне мы на над не него нее неё нет ни но ну о об он она "
    "они оно от по под при с со так также то того тоже той только том ты у уже чем что чтобы эта эти это этого этой "
    "этом этот я";

static const struct {
    const char *language, *words;
} lists[] = {
    {"english", english}, {"porter", english},      {"german", german},         {"french", french},
    {"spanish", spanish}, {"italian", italian},     {"portuguese", portuguese}, {"dutch", dutch},
    {"swedish", swedish}, {"norwegian", norwegian}, {"danish", danish},         {"finnish", finnish},
    {"russian", russian},
};

const char *wr_stop_words(const char *language)
{
    for (size_t i = 0; i < sizeof lists / sizeof *lists; i++)
        if (!strcmp(lists[i].language, language)) return lists[i].words;
    return NULL;
}
