-- rambler up
CREATE TABLE kept (id int);
INSERT INTO kept VALUES (1);

-- rambler down
DROP TABLE kept;
