CREATE TYPE mood AS ENUM ('sad');
CREATE TABLE kept (m mood);
