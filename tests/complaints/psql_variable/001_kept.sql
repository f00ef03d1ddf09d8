CREATE TABLE kept (t text);
INSERT INTO kept VALUES (:'word');
