package harness

import "time"

// Results is what one run has measured.
type Results struct {
	Environment Environment `json:"environment"`
	Started     time.Time   `json:"started"`
	Seconds     float64     `json:"seconds"`
	Passes      int         `json:"passes"`
	Rounds      int         `json:"rounds"`   // of a pass, at least
	Most        int         `json:"most"`     // of a pass, where ratios need more
	Duration    string      `json:"duration"` // aimed at for each round
	// Partial says why the run is not complete, or is empty.
	Partial string   `json:"partial,omitempty"`
	Results []Result `json:"results"`
}

// Result is one contestant in one scenario.
type Result struct {
	Scenario   string `json:"scenario"`
	Contestant string `json:"contestant"`
	// Skipped says why it was not measured, Error what went wrong. A result
	// with an Error has no samples that count.
	Skipped string   `json:"skipped,omitempty"`
	Error   string   `json:"error,omitempty"`
	Samples []Sample `json:"samples,omitempty"`
}

// Sample is one round.
type Sample struct {
	Round    int     `json:"round"`
	Messages int     `json:"messages"` // delivered, or published where nothing consumes
	Seconds  float64 `json:"seconds"`
	// Figure is what the measure is about, in the unit of the measure.
	Figure    float64 `json:"figure"`
	ClientCPU float64 `json:"client_cpu"` // seconds, of this process and its children
	ServerCPU float64 `json:"server_cpu"` // seconds, of the redis-server
	// Duplicates were delivered more than once, which at-least-once allows.
	Duplicates int `json:"duplicates,omitempty"`
	// Latency is set by measures of latency.
	Latency *Latency `json:"latency,omitempty"`
}

// Latency is how long messages took, in milliseconds.
type Latency struct {
	P50      float64 `json:"p50"`
	P90      float64 `json:"p90"`
	P99      float64 `json:"p99"`
	P999     float64 `json:"p999"`
	Max      float64 `json:"max"`
	Achieved float64 `json:"achieved"` // messages a second that went through
}

// Unit says what a measure's figure is.
type Unit struct {
	Name string // "messages/s", "ms", "bytes/message", …
	// Less says that less is better.
	Less bool
}

// Environment is where a run took place.
type Environment struct {
	CPU       string            `json:"cpu"`
	Cores     int               `json:"cores"`
	MemoryGiB float64           `json:"memory_gib"`
	OS        string            `json:"os"`
	Go        string            `json:"go"`
	Redis     string            `json:"redis"`
	Commit    string            `json:"commit"`
	Libraries map[string]string `json:"libraries"` // contestant -> module and version
}
