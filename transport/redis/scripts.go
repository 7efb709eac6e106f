package redis

import (
	_ "embed"

	goredis "github.com/redis/go-redis/v9"
)

// Each script is one atomic move. It touches keys of one hash slot only.
var (
	//go:embed scripts/ack.lua
	ackSource string
	//go:embed scripts/move.lua
	moveSource string
	//go:embed scripts/retry.lua
	retrySource string
	//go:embed scripts/promote.lua
	promoteSource string
	//go:embed scripts/extend.lua
	extendSource string
	//go:embed scripts/leave.lua
	leaveSource string
	//go:embed scripts/survey.lua
	surveySource string
	//go:embed scripts/progress.lua
	progressSource string // comes before those that settle messages of an entry of many
	//go:embed scripts/ackitems.lua
	ackItemsSource string
	//go:embed scripts/forget.lua
	forgetSource string
	//go:embed scripts/tenure.lua
	tenureSource string
	//go:embed scripts/giveback.lua
	giveBackSource string
	//go:embed scripts/resign.lua
	resignSource string

	ackScript      = goredis.NewScript(ackSource)
	ackItemsScript = goredis.NewScript(progressSource + ackItemsSource)
	moveScript     = goredis.NewScript(progressSource + moveSource)
	retryScript    = goredis.NewScript(progressSource + retrySource)
	promoteScript  = goredis.NewScript(promoteSource)
	extendScript   = goredis.NewScript(extendSource)
	forgetScript   = goredis.NewScript(forgetSource)
	leaveScript    = goredis.NewScript(leaveSource)
	surveyScript   = goredis.NewScript(surveySource)
	tenureScript   = goredis.NewScript(tenureSource)
	giveBackScript = goredis.NewScript(giveBackSource)
	resignScript   = goredis.NewScript(resignSource)
)
