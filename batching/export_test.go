package batching

// LateTimer does what the timer does that was stopped too late.
func (p *Publisher) LateTimer() { p.onTimer() }
