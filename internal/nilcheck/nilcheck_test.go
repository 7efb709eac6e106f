package nilcheck_test

import (
	"testing"

	"github.com/logistically/events/internal/nilcheck"
)

func TestANilPointerInAnInterfaceIsNil(t *testing.T) {
	for _, tt := range []struct {
		v    any
		want bool
	}{
		{nil, true}, {(*int)(nil), true}, {(func())(nil), true},
		{new(int), false}, {func() {}, false}, {0, false}, {map[string]int(nil), false}, {[]int(nil), false},
	} {
		if got := nilcheck.IsNil(tt.v); got != tt.want {
			t.Errorf("%T %[1]v: %v, want %v", tt.v, got, tt.want)
		}
	}
}
