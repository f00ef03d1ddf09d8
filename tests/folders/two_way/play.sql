-- !Ups

CREATE TABLE kept (id int);
INSERT INTO kept VALUES (1);

-- !Downs

DROP TABLE kept;
