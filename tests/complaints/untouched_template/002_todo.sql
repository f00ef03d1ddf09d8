-- 002_todo: what it is for

