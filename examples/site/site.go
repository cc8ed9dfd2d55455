// Package site carries the configurations of the example site into the binary, so that `vipd lab` needs no files. It
// holds no code, only the two directors' files as they lie beside it.
package site

import "embed"

// Files has director1.conf and director2.conf.
//
//go:embed director1.conf director2.conf
var Files embed.FS
