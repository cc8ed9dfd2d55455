package conf

import (
	"testing"
	"testing/fstest"
)

// A FILE_CHECK reads the file of its track_file, whether or not an instance follows that too.
func TestAFileCheckHasThePathOfItsFile(t *testing.T) {
	text := "track_file load {\n\tfile /run/load\n}\nvirtual_server 10.0.8.9 80 {\n\tprotocol TCP\n\treal_server 10.0.8.12 80 {\n\t\tFILE_CHECK {\n\t\t\ttrack_file load\n\t\t}\n\t}\n}\n"
	cfg, _, diags := Load(fstest.MapFS{"f.conf": {Data: []byte(text)}}, "f.conf", Options{})
	if cfg == nil {
		t.Fatalf("%v", diags)
	}
	if got := cfg.Health.Services[0].Reals[0].Checkers[0].File; got == nil || got.Path != "/run/load" {
		t.Errorf("%+v", got)
	}
}
