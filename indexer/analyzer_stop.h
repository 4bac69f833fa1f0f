/* Stop words by analyzer name: what analyzer.c leaves out before it stems. */
#ifndef WR_INDEXER_ANALYZER_STOP_H
#define WR_INDEXER_ANALYZER_STOP_H

/* The words of a language, lower case, one space between them; NULL when there is no list for it. */
const char *wr_stop_words(const char *language);

#endif
