-- Enters a score, of which the best counts, and tells the rank: KEYS board, ARGV player, score.
redis.call('ZADD', KEYS[1], 'GT', ARGV[2], ARGV[1])
return {redis.call('ZREVRANK', KEYS[1], ARGV[1]) + 1, redis.call('ZSCORE', KEYS[1], ARGV[1])}
