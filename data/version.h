/* The version of the program: weir --version, manifests, the server's answers. */
#ifndef WR_DATA_VERSION_H
#define WR_DATA_VERSION_H

#define WR_VERSION "0.1.0"

#endif
